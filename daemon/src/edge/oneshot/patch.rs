//! `quired patch [--check]`: applies the patch on stdin in the working directory.
//!
//! Nothing outside of that directory is written, nor anything in `.git` and `.quire`, and either
//! every part of the patch is applied or none.

use std::{
    env,
    error::Error,
    ffi::OsString,
    io::{self, Read, Write},
    path::Path,
    process::ExitCode,
};

use crate::{
    adapters::files::{Bounds, Hidden, Plan, commit, plan},
    pure::patch::Patch,
};

const USAGE: &str = "\
usage: quire patch [--check] < PATCH

Applies a patch (`*** Begin Patch` ... `*** End Patch`) in this directory: all of it or nothing.
--check changes nothing and prints the diff.

example: quire patch --check < fix.patch";

/// Runs the command with the arguments after `patch`. Prints `Success.` and a line for each file,
/// or one line on stderr.
///
/// `--check` changes nothing and prints the diff. Ends with 0; 1 if the patch does not apply; 2 on
/// wrong use.
#[must_use]
pub fn patch(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut check = false;
    for argument in arguments {
        if argument == "--check" {
            check = true;
        } else if argument == "--help" || argument == "-h" {
            let _ = writeln!(io::stdout().lock(), "{USAGE}");
            return ExitCode::SUCCESS;
        } else {
            let argument = argument.to_string_lossy();
            report(&format!(
                "`{argument}` is not an option: usage: quire patch [--check] < PATCH"
            ));
            return ExitCode::from(2);
        }
    }
    match run(check) {
        Ok(text) => {
            // A reader that has gone does not undo the patch.
            let _ = io::stdout().lock().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            report(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn run(check: bool) -> Result<String, Box<dyn Error>> {
    let mut input = Vec::new();
    io::stdin().lock().read_to_end(&mut input)?;
    let input = String::from_utf8(input).map_err(|_| "the patch is not UTF-8")?;
    let base = env::current_dir()?;
    let bounds = Bounds {
        roots: Some(vec![base.clone()]),
        base,
        unprotected: false,
        hidden: Hidden::default(),
    };
    let patch = Patch::parse(&input)?;
    let plan = plan(&patch, &bounds)?;
    if check {
        return Ok(preview(&patch, &plan, &bounds.base));
    }
    commit(&plan.changes, umask())?;
    Ok(patch.success())
}

/// What would change, file by file.
fn preview(patch: &Patch, plan: &Plan, base: &Path) -> String {
    let mut text = "Would update the following files:\n".to_owned();
    text.push_str(&patch.list());
    for change in plan.previews(base) {
        text.push_str(&format!("\n--- {}\n{}", change.path, change.diff));
    }
    text
}

/// The mask of the shell that called. There is only this thread, which sets it back at once.
fn umask() -> u32 {
    let mask = rustix::process::umask(rustix::fs::Mode::empty());
    rustix::process::umask(mask);
    mask.as_raw_mode() as u32
}

/// Prints one line. It may quote a file, whose control characters are not for the terminal.
fn report(line: &str) {
    let line = line.replace(char::is_control, "\u{fffd}");
    let _ = writeln!(io::stderr().lock(), "{line}");
}
