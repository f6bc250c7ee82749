//! End the running turn of a session.

use quire_proto::v1::TurnServiceInterruptRequest;

use super::{Done, find_session, request_id};
use crate::{
    context::{self, Context},
    link::Link,
};

/// End the running turn of a session.
///
/// Returns when its tools are really dead. Without a running turn there is nothing to do, and that
/// is no error.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  quire interrupt @last")]
pub struct Arguments {
    /// Id, unique prefix, title, or @last.
    session: String,
}

/// Carries it out.
///
/// # Errors
///
/// When there is no such session.
pub async fn run(arguments: Arguments, context: &Context) -> Done {
    let mut link = Link::open(&context.host, context.who("interrupt")).await?;
    let session = find_session(&mut link, &arguments.session).await?;
    let request = TurnServiceInterruptRequest {
        request_id: request_id(),
        session: session.id,
        expected_turn: 0,
    };
    let done = link
        .call(async |connection| connection.turns().interrupt(request.clone()).await)
        .await?;
    match done.into_inner().turn {
        0 => context::progress("no turn was running\n"),
        turn => context::progress(format!("turn {turn} was interrupted\n")),
    }
}
