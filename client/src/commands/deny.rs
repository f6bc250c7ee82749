//! Refuse what a session asks for.

use quire_proto::v1::{ApprovalServiceDecideRequest, ApprovalVerdict};

use super::{Done, approve::decide};
use crate::context::Context;

/// Refuse what a session asks for, or list what waits in all sessions.
///
/// The model is told, with your word if you give one, and goes on; `--stop` ends the turn instead.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quire deny @last -m 'use the staging server'
  quire deny build --stop")]
pub struct Arguments {
    /// Id, unique prefix, title, or @last; without it nothing is answered, and all that waits is listed.
    session: Option<String>,
    /// Which approval, when several are pending.
    #[arg(long, value_name = "N", requires = "session", value_parser = clap::value_parser!(u64).range(1..))]
    id: Option<u64>,
    /// End the turn.
    #[arg(long, requires = "session")]
    stop: bool,
    /// A word to the model.
    #[arg(
        long,
        short = 'm',
        value_name = "WORD",
        default_value = "",
        requires = "session"
    )]
    message: String,
    /// JSON lines.
    #[arg(long)]
    json: bool,
}

/// Carries it out.
///
/// # Errors
///
/// When nothing is pending, several are and none is named, or someone else has decided.
pub async fn run(arguments: Arguments, context: &Context) -> Done {
    let decision = ApprovalServiceDecideRequest {
        session: arguments.session.unwrap_or_default(),
        approval: arguments.id.unwrap_or(0),
        verdict: ApprovalVerdict::Deny.into(),
        message: arguments.message,
        stop: arguments.stop,
        ..ApprovalServiceDecideRequest::default()
    };
    let link = context.connect("deny").await?;
    decide(link, decision, arguments.json).await
}
