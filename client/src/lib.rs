//! The Quire client: what a person sees of sessions, and what they say to them.
//!
//! It holds no truth. Everything shown, even the person's own prompt, came back from the daemon as
//! an event and was folded into a [`view::View`]. The parts, from the edge inwards:
//!
//! - [`cli`]: the command line; [`commands`]: one command per file;
//! - [`connect`], [`reach`], [`start`], [`versions`]: the way to the daemon, and to one of another
//!   version; [`link`], [`patience`]: back to it when it died; [`force`]: out of it when it hangs;
//! - [`told`]: what people learn of all that;
//! - [`top`]: all sessions at once, live;
//! - [`view`]: the pure fold of what a watch streams; [`output`]: text and JSON lines from it;
//! - [`failure`]: exit codes and what is told with each.

use std::process::ExitCode;

pub mod cli;
pub mod commands;
pub mod connect;
pub mod context;
pub mod failure;
pub mod force;
pub mod link;
pub mod output;
pub mod patience;
pub mod reach;
pub mod start;
pub mod told;
pub mod top;
pub mod tui;
pub mod versions;
pub mod view;
pub mod world;

#[cfg(test)]
mod fake;

use failure::{Exit, Failure};
use output::paint::printable;

/// Runs the command that the process's arguments name, and tells how it ended.
#[must_use]
pub fn run() -> ExitCode {
    match commands::become_other(std::env::args_os().skip(1)).and_then(|()| run_here()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(message) = failure.message() {
                // Nobody is left to tell when this cannot be written.
                let _unheard = context::progress(format!("quire: {}\n", printable(message)));
            }
            failure.exit().into()
        }
    }
}

fn run_here() -> Result<(), Failure> {
    let Some(arguments) = cli::parse()? else {
        return Ok(());
    };
    let context = context::Context::find()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot start: {error}")))?;
    let done = runtime.block_on(commands::run(arguments, &context));
    // Whatever still waits for the daemon need not be waited for.
    runtime.shutdown_background();
    done
}
