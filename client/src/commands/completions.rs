//! Completions for a shell.

use clap_complete::{Shell, generate};

use super::Done;
use crate::{cli, context};

/// Print completions for a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  quire completions bash > ~/.local/share/bash-completion/completions/quire")]
pub struct Arguments {
    /// Which shell.
    shell: Shell,
}

/// Carries it out.
///
/// # Errors
///
/// When nobody reads them.
pub fn run(arguments: Arguments) -> Done {
    let mut text = Vec::new();
    generate(arguments.shell, &mut cli::command(), "quire", &mut text);
    context::print(text)
}
