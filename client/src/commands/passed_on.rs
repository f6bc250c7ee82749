//! Commands that another program of ours carries out: this process becomes it, with the arguments
//! unchanged, before anything else is looked at.

use std::{ffi::OsString, os::unix::process::CommandExt as _, process::Command};

use super::Done;
use crate::{
    failure::{Exit, Failure},
    start,
};

/// Run one command under a policy, no daemon needed.
///
/// Exits as the command did. `quire sandbox --help` tells all options.
#[derive(Debug, clap::Args)]
#[command(
    disable_help_flag = true,
    after_help = "Examples:
  quire sandbox -- cargo test
  quire sandbox --mode read-only --explain -- sh"
)]
pub struct Sandbox {
    /// Options, then `--`, then the command.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    _arguments: Vec<OsString>,
}

/// Apply a patch from standard input in this directory, no daemon needed.
///
/// Either every hunk lands or no file changes. `--check` only tries.
#[derive(Debug, clap::Args)]
#[command(
    disable_help_flag = true,
    after_help = "Example:
  quire patch --check < change.patch"
)]
pub struct Patch {
    /// `--check`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    _arguments: Vec<OsString>,
}

/// Show and check the configuration: `path`, `get`, `check`.
#[derive(Debug, clap::Args)]
#[command(
    disable_help_flag = true,
    after_help = "Examples:
  quire config path
  quire config get model
  quire config check"
)]
pub struct Config {
    /// What to do, and with which key.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    _arguments: Vec<OsString>,
}

/// Look at this machine and say what is missing, and how to get it.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Doctor {
    /// `--json`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    _arguments: Vec<OsString>,
}

/// Becomes the program that carries out the named command; returns when none does.
///
/// # Errors
///
/// When that program is missing or cannot be started.
pub fn become_other(mut arguments: impl Iterator<Item = OsString>) -> Done {
    let Some(command) = arguments.next() else {
        return Ok(());
    };
    let (name, variable, word) = match command.to_str() {
        Some("sandbox") => ("quire-sandbox", "QUIRE_SANDBOX", "run"),
        Some(word @ ("patch" | "config" | "doctor")) => ("quired", "QUIRE_DAEMON", word),
        _ => return Ok(()),
    };
    let exit = match name {
        "quire-sandbox" => Exit::Sandbox,
        _ => Exit::NoDaemon,
    };
    let program = start::program(name, variable)
        .map_err(|failure| Failure::new(exit, failure.to_string()))?;
    let error = Command::new(&program).arg(word).args(arguments).exec();
    let program = program.display();
    Err(Failure::new(
        exit,
        format!("cannot start `{program}`: {error}"),
    ))
}

/// Options of `quire` itself stood before the command, which is therefore not passed on.
///
/// # Errors
///
/// Always.
pub fn must_come_first() -> Done {
    Err(Failure::usage(
        "`sandbox`, `patch`, `config` and `doctor` must come right after `quire`",
    ))
}
