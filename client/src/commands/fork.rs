//! Copy a session.

use quire_proto::v1::SessionServiceForkRequest;

use super::{Done, find_session, request_id};
use crate::{
    context::{self, Context},
    link::Link,
    world,
};

/// Copy a session's history into a new one, and print its id.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Id, unique prefix, title, or @last.
    session: String,
    /// Take the history up to this event only.
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    at: u64,
}

/// Carries it out.
///
/// # Errors
///
/// When there is no such session.
pub async fn run(arguments: Arguments, context: &Context) -> Done {
    let mut link = Link::open(&context.host, context.who("fork")).await?;
    let session = find_session(&mut link, &arguments.session).await?;
    let request = SessionServiceForkRequest {
        request_id: request_id(),
        session: session.id,
        at_seq: arguments.at,
        world: Some(world::here(None)?),
        title: String::new(),
    };
    let forked = link
        .call(async |connection| connection.sessions().fork(request.clone()).await)
        .await?;
    let id = forked.into_inner().session.unwrap_or_default().id;
    context::print(format!("{id}\n"))
}
