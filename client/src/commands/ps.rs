//! The sessions there are.

use std::time::SystemTime;

use quire_proto::v1::{Session, SessionServiceListRequest, SessionState, StopReason};
use serde::Serialize;

use super::Done;
use crate::{
    context::{self, Context},
    failure::Failure,
    link::Link,
    output::table::{age, table},
};

/// List sessions, newest activity first.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quire ps
  quire ps --all --json | jq -r .id")]
pub struct Arguments {
    /// Archived ones too.
    #[arg(long, short)]
    all: bool,
    /// JSON lines.
    #[arg(long)]
    json: bool,
}

/// A session for scripts.
#[derive(Serialize)]
pub(crate) struct Line<'a> {
    id: &'a str,
    title: &'a str,
    state: &'static str,
    workspace: &'a str,
    cwd: &'a str,
    model: &'a str,
    created_ms: i64,
    active_ms: i64,
    turns: u64,
    running_turn: u64,
    turn_started_ms: i64,
    /// Why the last turn stopped; null while one runs or before the first.
    last_stop: Option<&'static str>,
    input_tokens: u64,
    output_tokens: u64,
    cost_micros: u64,
    clients: usize,
    pending_approvals: u32,
    queued_prompts: u32,
    running_jobs: u32,
    archived: bool,
    /// Left out while the log is whole.
    #[serde(skip_serializing_if = "is_zero")]
    damaged_seq: u64,
    last_prompt: &'a str,
}

/// Carries it out.
///
/// # Errors
///
/// When no daemon can be had.
pub async fn run(arguments: Arguments, context: &Context) -> Done {
    let mut link = context.connect("ps").await?;
    let sessions = list(&mut link, arguments.all, "").await?;
    if arguments.json {
        return context::print(super::json_lines(sessions.iter().map(line)));
    }
    if sessions.is_empty() {
        return context::progress("no sessions yet: start one with `quire`\n");
    }
    context::print(rows(&sessions, now_ms()))
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
}

/// All sessions, of one workspace unless it is empty.
pub(super) async fn list(
    link: &mut Link,
    include_archived: bool,
    workspace: &str,
) -> Result<Vec<Session>, Failure> {
    let mut sessions = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = SessionServiceListRequest {
            include_archived,
            workspace: workspace.to_owned(),
            page_size: 0,
            page_token,
        };
        let page = link
            .call(async |connection| connection.sessions().list(request.clone()).await)
            .await?
            .into_inner();
        sessions.extend(page.sessions);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(sessions);
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// How a session stands, in a word or two.
pub(crate) fn state(session: &Session) -> &'static str {
    match session.state() {
        // It cannot be gone on with, whatever it did.
        _ if session.damaged_seq > 0 => "damaged",
        SessionState::Idle | SessionState::Unspecified => "idle",
        SessionState::Running => "running",
        SessionState::NeedsApproval => "needs approval",
        SessionState::Suspended => "suspended",
    }
}

/// The word for why a turn stopped; `None` when none has.
pub(crate) fn stop_word(reason: StopReason) -> Option<&'static str> {
    match reason {
        StopReason::Unspecified => None,
        StopReason::Done => Some("done"),
        StopReason::Interrupted => Some("interrupted"),
        StopReason::Denied => Some("denied"),
        StopReason::ModelError => Some("model-error"),
        StopReason::Limit => Some("limit"),
        StopReason::Internal => Some("internal"),
        StopReason::MaxTokens => Some("max-tokens"),
        StopReason::Refused => Some("refused"),
    }
}

fn rows(sessions: &[Session], now_ms: i64) -> String {
    let header = [
        "ID",
        "STATE",
        "TITLE",
        "MODEL",
        "AGE",
        "COST",
        "CLIENTS",
        "WORKSPACE",
    ];
    let rows = sessions.iter().map(|session| {
        let title = [&session.title, &session.last_prompt];
        let title = title.into_iter().find(|text| !text.is_empty());
        let usage = session.usage.unwrap_or_default();
        [
            session.id.clone(),
            match session.archived {
                true => format!("{}, archived", state(session)),
                false => state(session).to_owned(),
            },
            shorten(title.map_or("", |title| title)),
            session.model.clone(),
            age(now_ms - session.active_ms),
            match usage.cost_micros {
                0 => String::from("-"),
                micros => format!("${}.{:02}", micros / 1_000_000, micros % 1_000_000 / 10_000),
            },
            session.clients.len().to_string(),
            session.workspace.clone(),
        ]
    });
    table([header.map(str::to_owned)].into_iter().chain(rows))
}

/// A title that fits a column.
pub(crate) fn shorten(title: &str) -> String {
    const LONGEST: usize = 40;
    if title.chars().count() <= LONGEST {
        return title.to_owned();
    }
    let kept = title.chars().take(LONGEST - 3);
    kept.chain("...".chars()).collect()
}

/// A session for scripts.
pub(crate) fn line(session: &Session) -> Line<'_> {
    let usage = session.usage.unwrap_or_default();
    Line {
        id: &session.id,
        title: &session.title,
        state: state(session),
        workspace: &session.workspace,
        cwd: &session.cwd,
        model: &session.model,
        created_ms: session.created_ms,
        active_ms: session.active_ms,
        turns: session.turns,
        running_turn: session.running_turn,
        turn_started_ms: session.turn_started_ms,
        last_stop: stop_word(session.last_stop()),
        input_tokens: usage.input_tokens,
        output_tokens: usage.output_tokens,
        cost_micros: usage.cost_micros,
        clients: session.clients.len(),
        pending_approvals: session.pending_approvals,
        queued_prompts: session.queued_prompts,
        running_jobs: session.running_jobs,
        archived: session.archived,
        damaged_seq: session.damaged_seq,
        last_prompt: &session.last_prompt,
    }
}

#[cfg(test)]
mod tests {
    use quire_proto::v1::Usage;

    use super::*;

    #[test]
    fn sessions_stand_in_columns() {
        let sessions = [
            Session {
                id: "bcdfgh2345".into(),
                title: "make the tests pass, all of them, and then some more".into(),
                state: SessionState::NeedsApproval.into(),
                model: "openai/gpt-5.2".into(),
                workspace: "/src/calc".into(),
                active_ms: 1_000,
                usage: Some(Usage {
                    cost_micros: 1_234_567,
                    ..Usage::default()
                }),
                ..Session::default()
            },
            Session {
                id: "jkmnpq6789".into(),
                last_prompt: "hello".into(),
                workspace: "/src/other".into(),
                active_ms: 100_000,
                ..Session::default()
            },
        ];
        insta::assert_snapshot!(rows(&sessions, 200_000), @r#"
        ID          STATE           TITLE                                     MODEL           AGE    COST   CLIENTS  WORKSPACE
        bcdfgh2345  needs approval  make the tests pass, all of them, and...  openai/gpt-5.2  3 min  $1.23  0        /src/calc
        jkmnpq6789  idle            hello                                                     1 min  -      0        /src/other
        "#);
        insta::assert_snapshot!(crate::commands::json_lines([line(&sessions[1])]), @r#"{"id":"jkmnpq6789","title":"","state":"idle","workspace":"/src/other","cwd":"","model":"","created_ms":0,"active_ms":100000,"turns":0,"running_turn":0,"turn_started_ms":0,"last_stop":null,"input_tokens":0,"output_tokens":0,"cost_micros":0,"clients":0,"pending_approvals":0,"queued_prompts":0,"running_jobs":0,"archived":false,"last_prompt":"hello"}"#);
    }
}
