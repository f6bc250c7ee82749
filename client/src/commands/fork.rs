//! Copy a session.

use std::path::PathBuf;

use quire_proto::v1::SessionServiceForkRequest;

use super::{Done, request_id};
use crate::{
    context::{self, Context},
    world,
};

/// Copy a session's history into a new one, and print its id.
///
/// The new session is at rest: of what ran at that point it has what was finished, the rest is ended as
/// interrupted. Jobs stay with the session they were started in, and so do prompts that wait. The old session goes
/// on as if nothing had happened.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quire fork @last
  quire attach $(quire fork @last --at 40)
  quire fork refactoring --title 'another way' --cd ../worktree

Events and their numbers are told by `quire search`, and by `quire export`.")]
pub struct Arguments {
    /// Id, unique prefix, title, or @last.
    session: String,
    /// Take the history up to this event only.
    #[arg(
        long,
        value_name = "SEQ",
        default_value_t = 0,
        hide_default_value = true
    )]
    at: u64,
    /// A name for the new session; else that of the old one, marked as a fork.
    #[arg(
        long,
        value_name = "TITLE",
        default_value = "",
        hide_default_value = true
    )]
    title: String,
    /// Directory to work in, with the environment of this terminal; else all is as in the old session.
    #[arg(long, short = 'C', value_name = "DIR")]
    cd: Option<PathBuf>,
}

/// Carries it out.
///
/// # Errors
///
/// When there is no such session, or it never had that event.
pub async fn run(arguments: Arguments, context: &Context) -> Done {
    let here = arguments.cd.as_deref();
    let here = here.map(|directory| world::here(Some(directory)));
    let here = here.transpose()?;
    let mut link = context.connect("fork").await?;
    let request = SessionServiceForkRequest {
        request_id: request_id(),
        session: arguments.session,
        at_seq: arguments.at,
        world: here,
        title: arguments.title,
    };
    let forked = link
        .call(async |connection| connection.sessions().fork(request.clone()).await)
        .await?;
    let id = forked.into_inner().session.unwrap_or_default().id;
    context::print(format!("{id}\n"))
}
