//! End the running turn of a session.

use quire_proto::v1::TurnServiceInterruptRequest;
use tonic::Status;
use tonic_types::StatusExt as _;

use super::{Done, find_session, request_id};
use crate::context::{self, Context};

/// End the running turn of a session.
///
/// Returns when its tools are really dead. Without a running turn there is nothing to do, and that
/// is no error. What waits in the queue begins next: `quire queue remove` takes it back first.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quire interrupt @last
  quire interrupt build --turn 3")]
pub struct Arguments {
    /// Id, unique prefix, title, or @last.
    session: String,
    /// Only if this turn is running; without it, the one that runs now.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    turn: Option<u64>,
}

/// Carries it out.
///
/// # Errors
///
/// When there is no such session, or another turn runs than the one that was to end.
pub async fn run(arguments: Arguments, context: &Context) -> Done {
    let mut link = context.connect("interrupt").await?;
    let session = find_session(&mut link, &arguments.session).await?;
    // Named, so that the next turn is spared when this one ends by itself.
    let expected_turn = arguments.turn.unwrap_or(session.running_turn);
    let request = TurnServiceInterruptRequest {
        request_id: request_id(),
        session: session.id,
        expected_turn,
    };
    let interrupted = link
        .call(
            async |connection| match connection.turns().interrupt(request.clone()).await {
                Ok(done) => Ok(done.into_inner().turn),
                Err(status) if nothing_runs(&status) => Ok(0),
                Err(status) => Err(status),
            },
        )
        .await?;
    match interrupted {
        0 => context::progress("no turn was running\n"),
        turn => context::progress(format!("turn {turn} was interrupted\n")),
    }
}

/// Whether the turn expected ended by itself and no other began.
fn nothing_runs(status: &Status) -> bool {
    let told = status.get_details_error_info();
    told.is_some_and(|told| {
        let running = told.metadata.get("running_turn").map(String::as_str);
        told.reason == "OTHER_TURN" && running == Some("0")
    })
}
