//! Remove a session for good.

use quire_proto::v1::SessionServiceDeleteRequest;

use super::{Done, find_session, request_id};
use crate::{context::Context, link::Link};

/// Remove a session, its history and its jobs' files, for good.
///
/// Refused while a turn runs.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Id, unique prefix, title, or @last.
    session: String,
}

/// Carries it out.
///
/// # Errors
///
/// When there is no such session, or a turn of it runs.
pub async fn run(arguments: Arguments, context: &Context) -> Done {
    let mut link = Link::open(&context.host, context.who("delete")).await?;
    let session = find_session(&mut link, &arguments.session).await?;
    let request = SessionServiceDeleteRequest {
        request_id: request_id(),
        session: session.id,
    };
    link.call(async |connection| connection.sessions().delete(request.clone()).await)
        .await?;
    Ok(())
}
