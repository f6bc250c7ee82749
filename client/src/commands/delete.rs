//! Remove a session for good.

use std::cell::Cell;

use quire_proto::v1::SessionServiceDeleteRequest;
use tonic::Code;

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
    let again = Cell::new(false);
    link.call(
        async |connection| match connection.sessions().delete(request.clone()).await {
            // The daemon that died under the first try had done it.
            Err(status) if status.code() == Code::NotFound && again.get() => Ok(()),
            answer => {
                again.set(true);
                answer.map(drop)
            }
        },
    )
    .await
}
