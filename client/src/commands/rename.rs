//! Give a session another title.

use prost_types::FieldMask;
use quire_proto::v1::{Session, SessionServiceUpdateRequest};

use super::{Done, find_session, request_id};
use crate::{context::Context, failure::Failure, link::Link};

/// Give a session another title.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Id, unique prefix, title, or @last.
    session: String,
    /// The new title.
    title: String,
}

/// Carries it out.
///
/// # Errors
///
/// When there is no such session, or the title is empty.
pub async fn run(arguments: Arguments, context: &Context) -> Done {
    let title = arguments.title.trim();
    if title.is_empty() {
        return Err(Failure::usage("a title cannot be empty"));
    }
    let mut link = Link::open(&context.host, context.who("rename")).await?;
    let session = find_session(&mut link, &arguments.session).await?;
    let request = SessionServiceUpdateRequest {
        request_id: request_id(),
        session: Some(Session {
            id: session.id,
            title: title.to_owned(),
            ..Session::default()
        }),
        update_mask: Some(FieldMask {
            paths: vec!["title".into()],
        }),
        world: None,
        replace_world: false,
    };
    link.call(async |connection| connection.sessions().update(request.clone()).await)
        .await?;
    Ok(())
}
