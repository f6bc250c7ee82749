//! Hide a session from lists.

use quire_proto::v1::SessionServiceArchiveRequest;

use super::{Done, find_session, request_id};
use crate::{context::Context, link::Link};

/// Hide a session from lists; nothing is removed.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Id, unique prefix, title, or @last.
    session: String,
    /// Show it again.
    #[arg(long)]
    restore: bool,
}

/// Carries it out.
///
/// # Errors
///
/// When there is no such session.
pub async fn run(arguments: Arguments, context: &Context) -> Done {
    let mut link = Link::open(&context.host, context.who("archive")).await?;
    let session = find_session(&mut link, &arguments.session).await?;
    let request = SessionServiceArchiveRequest {
        request_id: request_id(),
        session: session.id,
        restore: arguments.restore,
    };
    link.call(async |connection| connection.sessions().archive(request.clone()).await)
        .await?;
    Ok(())
}
