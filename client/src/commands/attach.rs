//! The terminal UI, on a session that is or on a new one.

use std::path::Path;

use quire_proto::v1::{ClientWorld, SessionServiceCreateRequest, SessionServiceListRequest};

use super::{Done, exec::prompt::check_length, find_session, request_id};
use crate::{
    cli::SessionOptions,
    context::{self, Context},
    failure::{Exit, Failure},
    link::Link,
    tui::{self, Leaving, Left, Role, Surroundings},
    world,
};

/// Open a session in the terminal UI: watch it, and take part.
///
/// Without a name: choose one of all there are. What is typed narrows them down.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quire attach                 choose one
  quire attach @last
  quire attach build --read-only")]
pub struct Arguments {
    /// Id, unique prefix, title, or @last.
    session: Option<String>,
    /// Only watch.
    #[arg(long)]
    read_only: bool,
}

/// Carries it out.
///
/// # Errors
///
/// When there is no terminal, or no such session.
pub async fn run(arguments: Arguments, context: &Context) -> Done {
    if arguments.session.is_none() && tui::require_terminal().is_err() {
        let text = "no terminal to choose a session in: `quire ps` lists them";
        return Err(Failure::usage(text));
    }
    tui::require_terminal()?;
    let role = match arguments.read_only {
        true => Role::Observe,
        false => Role::Work,
    };
    let mut link = Link::for_screen(&context.host, tui::introduction(role)).await?;
    let world = world::here(None)?;
    let Some(name) = &arguments.session else {
        return choose(context, link, world, role).await;
    };
    let session = find_session(&mut link, name).await?.id;
    let left = tui::attach(surroundings(context, link, Some(world)), session, role).await?;
    say_goodbye(&left)
}

async fn choose(context: &Context, mut link: Link, world: ClientWorld, role: Role) -> Done {
    let one = SessionServiceListRequest {
        include_archived: true,
        page_size: 1,
        ..SessionServiceListRequest::default()
    };
    let listed = link
        .call(async |connection| connection.sessions().list(one.clone()).await)
        .await?;
    if listed.into_inner().sessions.is_empty() {
        return Err(Failure::usage("no session yet: `quire` starts one"));
    }
    let here = workspace_of(&world.cwd);
    let surroundings = surroundings(context, link, Some(world));
    match tui::choose(surroundings, here, role).await? {
        Some(left) => say_goodbye(&left),
        None => Ok(()),
    }
}

/// The workspace of a session that would be made in this directory.
fn workspace_of(cwd: &str) -> String {
    let is_top = |directory: &&Path| directory.join(".git").exists();
    let top = Path::new(cwd).ancestors().find(is_top);
    top.and_then(Path::to_str).unwrap_or(cwd).to_owned()
}

/// Opens the terminal UI on a new session here.
///
/// # Errors
///
/// When there is no terminal, or no session can be made.
pub async fn start(prompt: Option<String>, options: SessionOptions, context: &Context) -> Done {
    tui::require_terminal()?;
    let create = SessionServiceCreateRequest {
        request_id: request_id(),
        world: Some(world::here(options.cd.as_deref())?),
        policy: options.policy(),
        add_dirs: world::directories(&options.add_dir)?,
        model: options.model.unwrap_or_default(),
        title: String::new(),
    };
    let link = Link::for_screen(&context.host, tui::introduction(Role::Work)).await?;
    let prompt = prompt.filter(|prompt| !prompt.trim().is_empty());
    check_length(prompt.as_deref().unwrap_or_default()).map_err(Failure::usage)?;
    let surroundings = surroundings(context, link, create.world.clone());
    let left = tui::start(surroundings, create, prompt).await?;
    say_goodbye(&left)
}

fn surroundings(context: &Context, link: Link, world: Option<ClientWorld>) -> Surroundings {
    Surroundings {
        link,
        world,
        colour: context.ends.colour,
    }
}

/// The screen is gone; what remains is how to come back.
fn say_goodbye(left: &Left) -> Done {
    let id = &left.session;
    let runs = left.view.running_turn().is_some();
    let state = if runs { "goes on working" } else { "is kept" };
    context::progress(format!(
        "Session {id} {state}; come back with: quire attach {id}\n"
    ))?;
    if let Some(text) = left.unsent.first() {
        let text = format!("the daemon has not taken this any more: {text}");
        return Err(Failure::new(Exit::Failed, text));
    }
    match left.why {
        Leaving::Detached | Leaving::TurnEnded | Leaving::Switched(_) | Leaving::Choosing => Ok(()),
        Leaving::Signal(_) => Err(Failure::silent(Exit::Interrupted)),
    }
}
