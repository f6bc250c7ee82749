//! Say something to a session without watching it.

use quire_proto::v1::{PromptItem, PromptMode, TurnServicePromptRequest};

use super::{Done, exec::prompt, find_session, lend_world, request_id};
use crate::context::{self, Context};

/// Say something to a session and leave.
///
/// A running turn is steered: the words join it at its next request to the model. An idle session
/// begins a turn.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quire send @last 'and update the changelog'
  git diff | quire send review - --queue
  quire send build 'use tabs' --turn 3")]
pub struct Arguments {
    /// Id, unique prefix, title, or @last.
    session: String,
    /// What to say; `-` reads it from standard input.
    prompt: Option<String>,
    /// Wait until running and queued turns have ended.
    #[arg(long, conflicts_with_all = ["steer", "start"])]
    queue: bool,
    /// Join the running turn, also where the default would change.
    #[arg(long, conflicts_with = "start")]
    steer: bool,
    /// Begin a turn now, or fail while one runs.
    #[arg(long)]
    start: bool,
    /// Only while this turn is running.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    turn: Option<u64>,
}

/// Carries it out.
///
/// # Errors
///
/// When the prompt is empty, or the daemon refuses it.
pub async fn run(arguments: Arguments, context: &Context) -> Done {
    let mode = arguments.mode();
    let text = prompt::read(arguments.prompt, context.ends)?;
    let mut link = context.connect("send").await?;
    let session = find_session(&mut link, &arguments.session).await?;
    lend_world(&mut link, &session).await;
    let session = session.id;
    let request = TurnServicePromptRequest {
        request_id: request_id(),
        session: session.clone(),
        prompt: Some(PromptItem {
            text,
            ..PromptItem::default()
        }),
        mode: mode.into(),
        expected_turn: arguments.turn.unwrap_or(0),
    };
    let sent = link
        .call(async |connection| connection.turns().prompt(request.clone()).await)
        .await?;
    match sent.into_inner().turn {
        0 => context::progress(format!(
            "queued in session {session}: `quire queue {session}` shows it\n"
        )),
        turn => context::progress(format!("turn {turn} of session {session}\n")),
    }
}

impl Arguments {
    fn mode(&self) -> PromptMode {
        match (self.queue, self.steer, self.start) {
            (true, _, _) => PromptMode::Queue,
            (_, true, _) => PromptMode::Steer,
            (_, _, true) => PromptMode::Start,
            _ => PromptMode::Unspecified,
        }
    }
}
