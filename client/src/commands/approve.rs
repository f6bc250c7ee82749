//! Allow what a session asks for.

use quire_proto::v1::{ApprovalServiceDecideRequest, ApprovalVerdict};

use super::{Done, find_session, lend_world, request_id};
use crate::{
    context::{self, Context},
    link::Link,
};

/// Allow what a session asks for.
///
/// The first answer counts: when someone else was faster, this says who.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quire approve @last
  quire approve build --id 3 --always session")]
pub struct Arguments {
    /// Id, unique prefix, title, or @last.
    session: String,
    /// Which approval, when several are pending.
    #[arg(long, value_name = "N")]
    id: Option<u64>,
    /// Allow the like from now on, too.
    #[arg(long, value_name = "SCOPE")]
    always: Option<Scope>,
    /// A word to the model.
    #[arg(long, short = 'm', value_name = "WORD", default_value = "")]
    message: String,
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
        approval: arguments.id.unwrap_or(0),
        verdict: verdict.into(),
        message: arguments.message,
        ..ApprovalServiceDecideRequest::default()
    };
    decide(&arguments.session, decision, context, "approved").await
}

/// Sends a decision on an approval of the session named, and says what it was about.
///
/// # Errors
///
/// As [`run`].
pub(super) async fn decide(
    session: &str,
    decision: ApprovalServiceDecideRequest,
    context: &Context,
    word: &str,
) -> Done {
    let mut link = Link::open(&context.host, context.who("approve")).await?;
    let session = find_session(&mut link, session).await?;
    if session.wants_world {
        lend_world(&mut link, &session).await;
    }
    let request = ApprovalServiceDecideRequest {
        request_id: request_id(),
        session: session.id,
        ..decision
    };
    let decided = link
        .call(async |connection| connection.approvals().decide(request.clone()).await)
        .await?;
    let title = decided.into_inner().approval.unwrap_or_default().title;
    context::progress(format!("{word}: {title}\n"))
}
