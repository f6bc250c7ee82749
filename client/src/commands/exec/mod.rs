//! One prompt without the terminal UI: for scripts, and for a quick word.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use prost_types::FieldMask;
use quire_proto::{
    id::TurnId,
    v1::{
        ClientWorld, PromptItem, Session, SessionServiceCreateRequest, SessionServiceUpdateRequest,
        TurnServicePromptRequest,
    },
};

use tokio::time::timeout;

use super::{Done, find_session, request_id};
use crate::{
    cli::{self, SessionOptions},
    connect::Connection,
    context::{self, Context},
    failure::{Exit, Failure},
    link::{Link, Watch},
    output::{
        Fold, Printed,
        json::{self, Json},
        paint::Paint,
        plain::{Plain, Target},
    },
    world,
};

mod drive;
pub mod prompt;
#[cfg(test)]
mod tests;

pub use drive::{Drive, Limits};

/// Give the agent one prompt and wait until it is done.
///
/// What it does goes to standard error, its last message to standard output, so that the answer can
/// be piped. A question that nobody can answer ends the run with exit code 3 instead of hanging;
/// while a terminal UI is attached to the same session, that one is asked. Ctrl-C interrupts the
/// turn, a second Ctrl-C leaves it to the daemon.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quire exec 'make the tests pass'
  (echo 'review this:'; git diff) | quire exec -o review.md
  quire exec --json --sandbox read-only 'what does this project do?' | jq .
  quire wait $(quire exec --detach 'update the dependencies')")]
pub struct Arguments {
    /// What to say; `-`, or nothing while input is piped, reads it from standard input.
    prompt: Option<String>,
    /// JSON lines on standard output, and nothing else there.
    #[arg(long)]
    json: bool,
    /// Print the session's id and leave; the turn goes on.
    #[arg(long)]
    detach: bool,
    /// Go on with this session: id, unique prefix, title, or @last.
    #[arg(long, value_name = "SESSION")]
    session: Option<String>,
    /// How the session is made, or changed when it exists.
    #[command(flatten)]
    options: SessionOptions,
    /// Write the last message to this file, too.
    #[arg(long, short, value_name = "FILE")]
    output_last_message: Option<PathBuf>,
    /// Interrupt the turn after this time; then the exit code is 6.
    #[arg(long, value_name = "DUR", value_parser = cli::duration)]
    timeout: Option<Duration>,
    #[command(flatten)]
    later: Later,
}

/// Options of versions to come.
#[derive(Debug, clap::Args)]
struct Later {
    #[arg(long, hide = true, value_name = "FILE")]
    image: Vec<PathBuf>,
    #[arg(long, hide = true, value_name = "FILE")]
    output_schema: Option<PathBuf>,
    #[arg(long, hide = true, value_name = "USD")]
    max_cost: Option<f64>,
}

impl Later {
    fn refuse(&self) -> Done {
        let given = [
            (!self.image.is_empty(), "--image"),
            (self.output_schema.is_some(), "--output-schema"),
            (self.max_cost.is_some(), "--max-cost"),
        ];
        match given.into_iter().find(|(given, _)| *given) {
            Some((_, option)) => Err(Failure::not_yet(option)),
            None => Ok(()),
        }
    }
}

/// Carries it out.
///
/// # Errors
///
/// How the turn ended, when that was not well.
pub async fn run(arguments: Arguments, context: &Context) -> Done {
    let json = arguments.json;
    let done = run_turn(arguments, context).await;
    if let (true, Err(Ending::Outside(failure))) = (json, &done) {
        let mut printed = Printed::default();
        json::failure(failure, &mut printed);
        context::write_out(&printed)?;
    }
    done.map_err(|ending| match ending {
        Ending::Outside(failure) | Ending::Turn(failure) => failure,
    })
}

/// What kept a run from ending well.
#[derive(Debug)]
enum Ending {
    /// The turn, which has told so in its own line.
    Turn(Failure),
    /// Anything else.
    Outside(Failure),
}

impl From<Failure> for Ending {
    fn from(failure: Failure) -> Self {
        Self::Outside(failure)
    }
}

async fn run_turn(arguments: Arguments, context: &Context) -> Result<(), Ending> {
    arguments.later.refuse()?;
    let text = prompt::read(arguments.prompt.clone(), context.ends)?;
    if let Some(path) = &arguments.output_last_message {
        check_output(path)?;
    }
    let world = world::here(arguments.options.cd.as_deref())?;
    let begun = match arguments.timeout {
        None => begin(&arguments, text, &world, context).await?,
        Some(time) => timeout(time, begin(&arguments, text, &world, context))
            .await
            .map_err(|_elapsed| drive::time_over(time, "the turn did not begin"))??,
    };
    let Begun {
        link,
        session,
        request,
        turn,
        lent_to,
    } = begun;
    let mut printed = Printed::default();
    let fold = fold(arguments.json, context, &session, &mut printed);
    context::write_out(&printed)?;
    if arguments.detach {
        if !arguments.json {
            context::print(format!("{}\n", session.id))?;
        }
        return Ok(());
    }
    let limits = Limits {
        time: arguments.timeout,
        interactive: context.ends.interactive(),
    };
    // What a new session was told from the start is news.
    let seen = if arguments.session.is_some() {
        session.head_seq
    } else {
        0
    };
    let (lent_at, own) = match arguments.session {
        Some(_) => (session.head_seq, None),
        // Nobody else has had a word there.
        None => (0, turn),
    };
    let watch = match session.running_turn {
        0 if arguments.session.is_some() => Watch::from_now(link, session),
        // What the turn waits for lies before now.
        _ => Watch::from_start(link, session.id),
    };
    let watch = watch.lending(world).telling_silence(!arguments.json);
    let drive = Drive::new(watch, fold, own, seen).of_prompt(&request, turn);
    let mut drive = drive.lent_to(&lent_to, lent_at);
    let ended = drive.run(limits).await?;
    if let Some(failure) = ended {
        return Err(Ending::Turn(failure));
    }
    if let Some(path) = &arguments.output_last_message {
        write_last(path, drive.last_message())?;
    }
    Ok(())
}

/// A prompt that was accepted.
struct Begun {
    link: Link,
    /// The session as it was before the prompt.
    session: Session,
    /// What brought the prompt.
    request: String,
    /// The turn that it begins or is to join; `None` while it waits in the queue.
    turn: Option<TurnId>,
    /// The daemon that has this client's world.
    lent_to: Connection,
}

async fn begin(
    arguments: &Arguments,
    text: String,
    world: &ClientWorld,
    context: &Context,
) -> Result<Begun, Failure> {
    let mut link = Link::open(&context.host, context.who(drive::NAME)).await?;
    let session = match &arguments.session {
        Some(name) => take_up(&mut link, name, &arguments.options, world).await?,
        None => create(&mut link, &arguments.options, world).await?,
    };
    let lent_to = link.connection().clone();
    let request = TurnServicePromptRequest {
        request_id: request_id(),
        session: session.id.clone(),
        prompt: Some(PromptItem {
            text,
            ..PromptItem::default()
        }),
        ..TurnServicePromptRequest::default()
    };
    let sent = link
        .call(async |connection| connection.turns().prompt(request.clone()).await)
        .await?;
    Ok(Begun {
        link,
        session,
        request: request.request_id,
        turn: TurnId::new(sent.into_inner().turn),
        lent_to,
    })
}

fn fold(json: bool, context: &Context, session: &Session, printed: &mut Printed) -> Box<dyn Fold> {
    if json {
        Json::thread(&session.id, printed);
        return Box::new(Json::default());
    }
    let ends = context.ends;
    let target = match ends.stdout {
        true => Target::Stream,
        false => Target::LastMessage,
    };
    let out = ends.stdout && ends.colour;
    let err = ends.stderr && ends.colour;
    Box::new(Plain::new(
        target,
        Paint { colour: out },
        Paint { colour: err },
    ))
}

/// Makes a session in `world`.
///
/// # Errors
///
/// When the daemon finds no model, or the directories are not there.
pub async fn create(
    link: &mut Link,
    options: &SessionOptions,
    world: &ClientWorld,
) -> Result<Session, Failure> {
    let request = SessionServiceCreateRequest {
        request_id: request_id(),
        world: Some(world.clone()),
        model: options.model.clone().unwrap_or_default(),
        policy: options.policy(),
        title: String::new(),
        add_dirs: world::directories(&options.add_dir)?,
    };
    let created = link
        .call(async |connection| connection.sessions().create(request.clone()).await)
        .await?;
    Ok(created.into_inner().session.unwrap_or_default())
}

/// Finds a session, lends it this world, and changes what the options say.
async fn take_up(
    link: &mut Link,
    name: &str,
    options: &SessionOptions,
    world: &ClientWorld,
) -> Result<Session, Failure> {
    if options.cd.is_some() || !options.add_dir.is_empty() {
        let message = "`--cd` and `--add-dir` are for new sessions: leave `--session` out";
        return Err(Failure::usage(message));
    }
    let found = find_session(link, name).await?;
    let mut paths = Vec::new();
    let given = [
        (options.model.is_some(), "model"),
        (options.sandbox.is_some(), "policy.sandbox"),
        (options.approve.is_some(), "policy.approve"),
    ];
    paths.extend(
        given
            .into_iter()
            .filter(|(given, _)| *given)
            .map(|(_, path)| path.into()),
    );
    let request = SessionServiceUpdateRequest {
        request_id: request_id(),
        session: Some(Session {
            id: found.id,
            model: options.model.clone().unwrap_or_default(),
            policy: options.policy(),
            ..Session::default()
        }),
        update_mask: Some(FieldMask { paths }),
        world: Some(world.clone()),
        replace_world: false,
    };
    let updated = link
        .call(async |connection| connection.sessions().update(request.clone()).await)
        .await?;
    Ok(updated.into_inner().session.unwrap_or_default())
}

/// Refuses, before anything is paid for, a file that could not be written afterwards.
fn check_output(path: &Path) -> Result<(), Failure> {
    let shown = path.display();
    if path.is_dir() {
        return Err(Failure::usage(format!(
            "`{shown}` is a directory: name a file"
        )));
    }
    let parent = path.parent().unwrap_or(path);
    if parent.as_os_str().is_empty() || parent.is_dir() {
        return Ok(());
    }
    let parent = parent.display();
    Err(Failure::usage(format!(
        "cannot write `{shown}`: there is no directory `{parent}`"
    )))
}

fn write_last(path: &PathBuf, message: Option<&str>) -> Result<(), Failure> {
    fs::write(path, message.unwrap_or_default()).map_err(|error| {
        let path = path.display();
        Failure::new(Exit::Failed, format!("cannot write `{path}`: {error}"))
    })
}
