//! The whole loop at work, without a model: a small project with a failing test, repaired by a
//! scripted model over the real client, daemon, tools and sandbox.
//!
//! Everything lies in one private directory, and everything that was started there has ended when
//! the demo has.

use std::process::Command;

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use quire_proto::{
    id::TurnId,
    v1::{ClientWorld, PromptItem, Session, ShutdownMode, TurnServicePromptRequest, item::Kind},
};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{
    Done, daemon, diff,
    exec::{self, Drive, Limits},
    request_id,
};
use crate::{
    cli::SessionOptions,
    connect::Host,
    context::{self, Context},
    failure::{Exit, Failure},
    link::{Link, Watch},
    output::{
        paint::{Ink, Paint, printable},
        plain::{Plain, Target},
    },
    tui::{self, Surroundings},
    view::View,
    world,
};

mod project;

use project::Project;

/// Watch an agent find and fix a failing test. No model and no key needed.
///
/// The model is a script, and the first line says so. Client, daemon, tools and sandbox are the real
/// ones, in a directory of their own that is removed at the end. The exit code is 0 only if the
/// repaired test really passes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quire demo
  quire demo --plain --keep")]
pub struct Arguments {
    /// As text, also on a terminal.
    #[arg(long)]
    plain: bool,
    /// Keep the directory, to look around.
    #[arg(long)]
    keep: bool,
}

/// Carries it out.
///
/// # Errors
///
/// When the test does not pass at the end, whatever the reason.
pub async fn run(arguments: Arguments, context: &Context) -> Done {
    let paint = Paint {
        colour: context.ends.stdout && context.ends.colour,
    };
    context::print(paint.with(
        Ink::Bold,
        "The model of this demo is a script: its words are canned. The rest is real.\n",
    ))?;
    let project = Project::make()?;
    let inside = Context {
        host: Host {
            home: project.home()?,
            daemon: context.host.daemon.clone(),
        },
        ends: context.ends,
    };
    // Heard from here on, but a daemon that is being started is waited for: one that nobody waits
    // for could not be told to end.
    let mut signals = [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ]
    .into_iter()
    .filter_map(|kind| signal(kind).ok())
    .collect::<Vec<_>>();
    let link = Link::open(&inside.host, inside.who("demo")).await;
    let played = async { play(&arguments, &project, &inside, (link?, paint)).await };
    let played = tokio::select! {
        biased;
        () = any(&mut signals) => Err(Failure::silent(Exit::Interrupted)),
        played = played => played,
    };
    let stopped = daemon::stop(&inside, ShutdownMode::Now).await;
    if arguments.keep {
        let path = project.root().display();
        context::print(format!("Everything is still in `{path}`.\n"))?;
    } else {
        project.remove()?;
    }
    played.and(stopped.map(drop))
}

async fn play(
    arguments: &Arguments,
    project: &Project,
    context: &Context,
    (mut link, paint): (Link, Paint),
) -> Done {
    context::print(format!(
        "A project with a failing test: {}\n\n",
        project.code().display()
    ))?;
    let world = demo_world(project)?;
    let options = SessionOptions {
        model: Some(project::MODEL.into()),
        ..SessionOptions::default()
    };
    let session = exec::create(&mut link, &options, &world).await?;
    let request = TurnServicePromptRequest {
        request_id: request_id(),
        session: session.id.clone(),
        prompt: Some(PromptItem {
            text: project::PROMPT.into(),
            ..PromptItem::default()
        }),
        ..TurnServicePromptRequest::default()
    };
    let sent = link
        .call(async |connection| connection.turns().prompt(request.clone()).await)
        .await?;
    let turn = TurnId::new(sent.into_inner().turn);
    let on_screen = context.ends.interactive() && context.ends.stdout && !arguments.plain;
    let view = match on_screen {
        true => watched(&link, session, context).await?,
        false => as_text(link, session, turn, paint).await?,
    };
    if on_screen {
        // It went with the screen.
        context::print(last_message(&view))?;
    }
    match turn.and_then(|turn| view.turn(turn)?.ended.as_ref()) {
        Some(ended) => match Failure::of_turn(ended) {
            Some(failure) => Err(failure),
            None => conclude(&view, project, paint),
        },
        None => Err(Failure::silent(Exit::Interrupted)),
    }
}

async fn watched(link: &Link, session: Session, context: &Context) -> Result<View, Failure> {
    let surroundings = Surroundings {
        link: link.clone(),
        world: None,
        colour: context.ends.colour,
    };
    let left = tui::watch_until_done(surroundings, session.id).await?;
    Ok(left.view)
}

async fn as_text(
    link: Link,
    session: Session,
    turn: Option<TurnId>,
    paint: Paint,
) -> Result<View, Failure> {
    let fold = Box::new(Plain::new(Target::Transcript, paint, paint));
    let mut drive = Drive::new(Watch::from_now(link, session), fold, turn, 0);
    drive.run(Limits::default()).await?;
    Ok(drive.into_view())
}

fn last_message(view: &View) -> String {
    let mut newest = view.items().rev();
    let message = newest.find_map(|(_, item)| {
        let is_message = matches!(item.kind(), Some(Kind::Message(_)));
        is_message.then(|| printable(item.text()).into_owned())
    });
    message.map(|text| format!("{text}\n")).unwrap_or_default()
}

/// What stands after the turn: the whole change, the test run once more by us, and where to go next.
fn conclude(view: &View, project: &Project, paint: Paint) -> Done {
    let heading = |text: &str| paint.with(Ink::Bold, &format!("\n{text}\n"));
    let changes = diff::changes(view, paint);
    context::print(format!("{}{changes}", heading("What changed:")))?;
    context::print(heading("The test, run once more, not by the agent:"))?;
    let ran = Command::new("sh")
        .arg("test.sh")
        .current_dir(project.code())
        .output()
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot run `sh`: {error}")))?;
    context::print(&ran.stdout)?;
    if !ran.status.success() {
        return Err(Failure::new(Exit::Failed, "the test still fails"));
    }
    context::print(format!("{}{}", heading("Next:"), project::NEXT))
}

/// This world, in the project, without what would configure another Quire.
fn demo_world(project: &Project) -> Result<ClientWorld, Failure> {
    let mut world = world::here(Some(project.code()))?;
    world
        .environment
        .retain(|name, _| !name.starts_with("QUIRE_"));
    Ok(world)
}

/// Returns when any of the signals has come.
async fn any(signals: &mut [Signal]) {
    let mut waits: FuturesUnordered<_> = signals.iter_mut().map(Signal::recv).collect();
    if waits.next().await.is_none() {
        std::future::pending::<()>().await;
    }
}
