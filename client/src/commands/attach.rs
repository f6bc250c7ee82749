//! The terminal UI, on a session that is or on a new one.

use super::Done;
use crate::{cli::SessionOptions, context::Context, failure::Failure};

/// Open a session in the terminal UI: watch it, and take part.
///
/// Without a name: the newest session of this workspace.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quire attach @last
  quire attach build --read-only")]
pub struct Arguments {
    /// Id, unique prefix, title, or @last.
    session: Option<String>,
    /// Only watch.
    #[arg(long)]
    read_only: bool,
}

/// Carries it out.
///
/// # Errors
///
/// When there is no terminal, or no such session.
pub async fn run(arguments: Arguments, context: &Context) -> Done {
    let _ = (arguments.session, arguments.read_only);
    needs_terminal(context)
}

/// Opens the terminal UI on a new session here.
///
/// # Errors
///
/// When there is no terminal, or no session can be made.
pub async fn start(prompt: Option<String>, options: SessionOptions, context: &Context) -> Done {
    let _ = (prompt, options);
    needs_terminal(context)
}

fn needs_terminal(context: &Context) -> Done {
    if context.ends.stdin && context.ends.stdout {
        return Ok(());
    }
    Err(Failure::usage(
        "this needs a terminal: use `quire exec` to work without one",
    ))
}
