//! One command per file; its arguments' doc comment is its manual.

use std::ffi::OsString;

use quire_proto::{id::RequestId, v1};

use crate::{
    cli::{Arguments, Command},
    context::Context,
    failure::Failure,
    link::Link,
    output::json_text,
    world,
};

mod approvals;
pub mod approve;
pub mod archive;
pub mod attach;
pub mod completions;
pub mod daemon;
pub mod delete;
pub mod demo;
pub mod deny;
pub mod diff;
pub mod env;
pub mod exec;
pub mod export;
pub mod files;
pub mod fork;
pub mod import;
pub mod interrupt;
pub mod job;
pub mod jobs;
pub mod later;
pub mod logs;
pub mod models;
pub mod passed_on;
pub mod ps;
pub mod queue;
pub mod rename;
pub mod search;
pub mod send;
pub mod top;
pub mod wait;

/// How a command ends.
pub type Done = Result<(), Failure>;

/// Becomes another program when the arguments name a command that one carries out: `sandbox` and
/// `patch` need no daemon, and configuration is read by the daemon's program alone.
///
/// # Errors
///
/// When that program cannot be started.
pub fn become_other(arguments: impl Iterator<Item = OsString>) -> Done {
    passed_on::become_other(arguments)
}

/// Carries out the command.
///
/// # Errors
///
/// Whatever keeps it from ending well.
pub async fn run(arguments: Arguments, context: &Context) -> Done {
    let Some(command) = arguments.command else {
        return attach::start(arguments.prompt, arguments.options, context).await;
    };
    match command {
        Command::Exec(arguments) => exec::run(arguments, context).await,
        Command::Attach(arguments) => attach::run(arguments, context).await,
        Command::Ps(arguments) => ps::run(arguments, context).await,
        Command::Send(arguments) => send::run(arguments, context).await,
        Command::Queue(arguments) => queue::run(arguments, context).await,
        Command::Interrupt(arguments) => interrupt::run(arguments, context).await,
        Command::Approve(arguments) => approve::run(arguments, context).await,
        Command::Deny(arguments) => deny::run(arguments, context).await,
        Command::Wait(arguments) => wait::run(arguments, context).await,
        Command::Logs(arguments) => logs::run(arguments, context).await,
        Command::Diff(arguments) => diff::run(arguments, context).await,
        Command::Search(arguments) => search::run(arguments, context).await,
        Command::Env(arguments) => env::run(arguments, context).await,
        Command::Fork(arguments) => fork::run(arguments, context).await,
        Command::Export(arguments) => export::run(arguments, context).await,
        Command::Import(arguments) => import::run(arguments, context).await,
        Command::Rename(arguments) => rename::run(arguments, context).await,
        Command::Archive(arguments) => archive::run(arguments, context).await,
        Command::Delete(arguments) => delete::run(arguments, context).await,
        Command::Jobs(arguments) => jobs::run(arguments, context).await,
        Command::Job(arguments) => job::run(arguments, context).await,
        Command::Files(arguments) => files::run(arguments, context).await,
        Command::Models(arguments) => models::run(arguments, context).await,
        Command::Daemon(arguments) => daemon::run(arguments, context).await,
        Command::Demo(arguments) => demo::run(arguments, context).await,
        Command::Completions(arguments) => completions::run(arguments),
        Command::Sandbox(_) | Command::Patch(_) | Command::Config(_) | Command::Doctor(_) => {
            passed_on::must_come_first()
        }
        Command::Top(arguments) => top::run(arguments, context).await,
        Command::Undo(_) => later::refuse("quire undo"),
        Command::Symbols(_) => later::refuse("quire symbols"),
        Command::Map(_) => later::refuse("quire map"),
        Command::Acp(_) => later::refuse("quire acp"),
        Command::McpServer(_) => later::refuse("quire mcp-server"),
        Command::Proxy(_) => later::refuse("quire proxy"),
        Command::Man(_) => later::refuse("quire man"),
    }
}

/// A name for a mutating request that nobody has used before.
pub(crate) fn request_id() -> String {
    RequestId::random().to_string()
}

/// The session that `name` names, as the daemon understands names.
async fn find_session(link: &mut Link, name: &str) -> Result<v1::Session, Failure> {
    let request = v1::SessionServiceGetRequest {
        session: name.to_owned(),
    };
    let found = link
        .call(async |connection| connection.sessions().get(request.clone()).await)
        .await?;
    Ok(found.into_inner().session.unwrap_or_default())
}

/// Gives a session what it lacks of this world: its daemon may have lost the keys, or one is new here.
/// What hinders it is told by the session once it misses something.
async fn lend_world(link: &mut Link, session: &v1::Session) {
    if let Ok(world) = world::here(None) {
        let request = world::lending(&session.id, world);
        let _given = link
            .call(async |connection| connection.sessions().update(request.clone()).await)
            .await;
    }
}

/// Values as JSON lines.
fn json_lines<T: serde::Serialize>(values: impl IntoIterator<Item = T>) -> String {
    let lines = values.into_iter();
    lines.map(|value| json_text(&value) + "\n").collect()
}
