//! The terminal UI, on a session that is or on a new one.

use std::path::Path;

use quire_proto::v1::{ClientWorld, SessionServiceCreateRequest};

use super::{Done, exec::prompt::check_length, find_session, ps, request_id};
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
/// Without a name: the newest session of this workspace.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
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
    tui::require_terminal()?;
    let role = match arguments.read_only {
        true => Role::Observe,
        false => Role::Work,
    };
    let mut link = Link::for_screen(&context.host, tui::introduction(role)).await?;
    let session = match &arguments.session {
        Some(name) => find_session(&mut link, name).await?.id,
        None => newest_here(&mut link).await?,
    };
    let world = Some(world::here(None)?);
    let left = tui::attach(surroundings(context, link, world), session, role).await?;
    say_goodbye(&left)
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

/// The newest session of this workspace: of the nearest directory upwards that has any.
async fn newest_here(link: &mut Link) -> Result<String, Failure> {
    let here = world::here(None)?.cwd;
    let sessions = ps::list(link, false, "").await?;
    let directories = Path::new(&here).ancestors();
    let newest = directories
        .filter_map(|directory| {
            let mut sessions = sessions.iter();
            sessions.find(|session| Path::new(&session.workspace) == directory)
        })
        .next();
    newest.map(|session| session.id.clone()).ok_or_else(|| {
        Failure::usage("no session in this workspace yet: `quire` starts one, `quire ps` lists all")
    })
}

/// The screen is gone; what remains is how to come back.
fn say_goodbye(left: &Left) -> Done {
    let id = &left.session;
    let runs = left.view.running_turn().is_some();
    let state = if runs { "goes on working" } else { "is kept" };
    context::progress(format!(
        "Session {id} {state}; come back with: quire attach {id}\n"
    ))?;
    match left.why {
        Leaving::Detached | Leaving::TurnEnded => Ok(()),
        Leaving::Signal(_) => Err(Failure::silent(Exit::Interrupted)),
    }
}
