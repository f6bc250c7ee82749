//! Say something to a session without watching it.

use quire_proto::v1::{PromptItem, PromptMode, TurnServicePromptRequest};

use super::{Done, exec::prompt, find_session, lend_world, request_id};
use crate::{
    context::{self, Context},
    link::Link,
};

/// Say something to a session and leave.
///
/// A running turn is steered: the words join it at its next request to the model. An idle session
/// begins a turn.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quire send @last 'and update the changelog'
  git diff | quire send review - --queue")]
pub struct Arguments {
    /// Id, unique prefix, title, or @last.
    session: String,
    /// What to say; `-` reads it from standard input.
    prompt: Option<String>,
    /// Wait until running and queued turns have ended.
    #[arg(long, conflicts_with = "steer")]
    queue: bool,
    /// Join the running turn, also where the default would change.
    #[arg(long)]
    steer: bool,
}

/// Carries it out.
///
/// # Errors
///
/// When the prompt is empty, or the daemon refuses it.
pub async fn run(arguments: Arguments, context: &Context) -> Done {
    let text = prompt::read(arguments.prompt, context.ends)?;
    let mode = match (arguments.queue, arguments.steer) {
        (true, _) => PromptMode::Queue,
        (_, true) => PromptMode::Steer,
        _ => PromptMode::Unspecified,
    };
    let mut link = Link::open(&context.host, context.who("send")).await?;
    let session = find_session(&mut link, &arguments.session).await?;
    lend_world(&mut link, &session).await;
    let request = TurnServicePromptRequest {
        request_id: request_id(),
        session: session.id.clone(),
        prompt: Some(PromptItem {
            text,
            ..PromptItem::default()
        }),
        mode: mode.into(),
        expected_turn: 0,
    };
    let sent = link
        .call(async |connection| connection.turns().prompt(request.clone()).await)
        .await?;
    match sent.into_inner().turn {
        0 => context::progress(format!("queued in session {}\n", session.id)),
        turn => context::progress(format!("turn {turn} of session {}\n", session.id)),
    }
}
