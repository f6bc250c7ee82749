//! Allow what a session asks for.

use quire_proto::v1::{ApprovalServiceDecideRequest, ApprovalVerdict};

use super::{Done, approvals, find_session, lend_world, request_id};
use crate::{
    context::{self, Context},
    link::Link,
};

/// Allow what a session asks for, or list what waits in all sessions.
///
/// The first answer counts: when someone else was faster, this says who.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quire approve
  quire approve @last
  quire approve build --id 3 --always session")]
pub struct Arguments {
    /// Id, unique prefix, title, or @last; without it nothing is answered, and all that waits is listed.
    session: Option<String>,
    /// Which approval, when several are pending.
    #[arg(long, value_name = "N", requires = "session", value_parser = clap::value_parser!(u64).range(1..))]
    id: Option<u64>,
    /// Allow the like from now on, too.
    #[arg(long, value_name = "SCOPE", requires = "session")]
    always: Option<Scope>,
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

/// How far an approval reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scope {
    /// Until the session ends.
    Session,
    /// As a rule in your configuration.
    Rule,
}

/// Carries it out.
///
/// # Errors
///
/// When nothing is pending, several are and none is named, or someone else has decided.
pub async fn run(arguments: Arguments, context: &Context) -> Done {
    let verdict = match arguments.always {
        None => ApprovalVerdict::Once,
        Some(Scope::Session) => ApprovalVerdict::Session,
        Some(Scope::Rule) => ApprovalVerdict::Rule,
    };
    let decision = ApprovalServiceDecideRequest {
        session: arguments.session.unwrap_or_default(),
        approval: arguments.id.unwrap_or(0),
        verdict: verdict.into(),
        message: arguments.message,
        ..ApprovalServiceDecideRequest::default()
    };
    let link = context.connect("approve").await?;
    decide(link, decision, arguments.json).await
}

/// Sends a decision on an approval of the session named, and says what it was about. Where none is named,
/// lists what could be decided.
///
/// # Errors
///
/// As [`run`].
pub(super) async fn decide(
    mut link: Link,
    decision: ApprovalServiceDecideRequest,
    json: bool,
) -> Done {
    if decision.session.is_empty() {
        return approvals::list(&mut link, json).await;
    }
    let word = match decision.verdict() {
        ApprovalVerdict::Deny => "denied",
        _ => "approved",
    };
    let session = find_session(&mut link, &decision.session).await?;
    if session.wants_world {
        lend_world(&mut link, &session).await;
    }
    let request = ApprovalServiceDecideRequest {
        request_id: request_id(),
        session: session.id,
        ..decision
    };
    let decided = link
        .call(async |connection| {
            let decided = connection.approvals().decide(request.clone()).await;
            decided.map_err(approvals::told_when)
        })
        .await?;
    let approval = decided.into_inner().approval.unwrap_or_default();
    match json {
        true => approvals::print(&[approval]),
        false => context::progress(format!("{word}: {}\n", approval.title)),
    }
}
