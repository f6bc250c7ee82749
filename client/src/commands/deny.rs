//! Refuse what a session asks for.

use quire_proto::v1::{ApprovalServiceDecideRequest, ApprovalVerdict};

use super::{Done, approve::decide};
use crate::context::Context;

/// Refuse what a session asks for.
///
/// The model is told, with your word if you give one, and goes on; `--stop` ends the turn instead.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quire deny @last -m 'use the staging server'
  quire deny build --stop")]
pub struct Arguments {
    /// Id, unique prefix, title, or @last.
    session: String,
    /// Which approval, when several are pending.
    #[arg(long, value_name = "N")]
    id: Option<u64>,
    /// End the turn.
    #[arg(long)]
    stop: bool,
    /// A word to the model.
    #[arg(long, short = 'm', value_name = "WORD", default_value = "")]
    message: String,
}

/// Carries it out.
///
/// # Errors
///
/// When nothing is pending, several are and none is named, or someone else has decided.
pub async fn run(arguments: Arguments, context: &Context) -> Done {
    let decision = ApprovalServiceDecideRequest {
        approval: arguments.id.unwrap_or(0),
        verdict: ApprovalVerdict::Deny.into(),
        message: arguments.message,
        stop: arguments.stop,
        ..ApprovalServiceDecideRequest::default()
    };
    decide(&arguments.session, decision, context, "denied").await
}
