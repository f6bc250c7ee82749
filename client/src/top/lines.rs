//! What is printed where there is no screen: a line of JSON for each update, or one table.

use quire_proto::v1::{Approval, Job, daemon_service_watch_response::Update};
use serde::Serialize;

use super::overview::{Overview, Row};
use crate::{
    commands::{jobs, ps},
    output::{
        json_text,
        table::{age, table},
    },
    tui::text::amount,
};

/// One update for scripts.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<'a> {
    Session(ps::Line<'a>),
    SessionDeleted { id: &'a str },
    Approval(Asked<'a>),
    ApprovalDecided(Asked<'a>),
    Job(jobs::Line<'a>),
    JobEnded(jobs::Line<'a>),
    Synced,
    Draining,
}

/// An approval for scripts.
#[derive(Serialize)]
struct Asked<'a> {
    session: &'a str,
    id: u64,
    tool: &'a str,
    title: &'a str,
    reason: &'a str,
    requested_ms: i64,
    /// Left out while it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    approved: Option<bool>,
    /// Who answered; left out when no client did.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'a str>,
}

impl<'a> Asked<'a> {
    fn of(approval: &'a Approval) -> Self {
        let answer = approval.answer.as_ref();
        let denied = quire_proto::v1::ApprovalVerdict::Deny;
        Self {
            session: &approval.session_id,
            id: approval.id,
            tool: &approval.tool,
            title: &approval.title,
            reason: &approval.reason,
            requested_ms: approval.requested_ms,
            approved: answer.map(|answer| answer.verdict() != denied),
            by: answer.and_then(|answer| Some(answer.by.as_ref()?.name.as_str())),
        }
    }
}

/// The line of JSON that tells an update, line end included; `None` for what only keeps the stream alive.
#[must_use]
pub fn json_line(update: &Update) -> Option<String> {
    let line = match update {
        Update::Session(session) => Line::Session(ps::line(session)),
        Update::SessionDeleted(id) => Line::SessionDeleted { id },
        Update::Approval(approval) if approval.answer.is_some() => {
            Line::ApprovalDecided(Asked::of(approval))
        }
        Update::Approval(approval) => Line::Approval(Asked::of(approval)),
        Update::Job(job) => Line::Job(jobs::Line::of(job)),
        Update::JobEnded(job) => Line::JobEnded(jobs::Line::of(job)),
        Update::Synced(_) => Line::Synced,
        Update::Draining(_) => Line::Draining,
        Update::Heartbeat(_) => return None,
    };
    Some(json_text(&line) + "\n")
}

/// Everything in one table.
#[must_use]
pub fn table_of(overview: &Overview, now_ms: i64) -> String {
    let header = [
        "ID",
        "STATE",
        "TITLE",
        "MODEL",
        "TURN",
        "COST",
        "TOKENS",
        "CLIENTS",
        "WORKSPACE",
    ];
    let rows = overview.rows("");
    let rows = rows.into_iter().map(|row| match row {
        Row::Session(session) => {
            let usage = session.usage.unwrap_or_default();
            [
                session.id.clone(),
                ps::state(session).to_owned(),
                ps::shorten(&session.title),
                session.model.clone(),
                turn_age(session.turn_started_ms, now_ms),
                amount::money(usage.cost_micros),
                amount::tokens(usage.input_tokens + usage.output_tokens),
                session.clients.len().to_string(),
                session.workspace.clone(),
            ]
        }
        Row::Approval(approval) => beneath(
            format!("  !{}", approval.id),
            "waits",
            &approval.title,
            age(now_ms - approval.requested_ms),
        ),
        Row::Job(job) => beneath(
            format!("  {}", job.id),
            "job",
            command(job),
            age(now_ms - job.started_ms),
        ),
    });
    table([header.map(str::to_owned)].into_iter().chain(rows))
}

/// How long a turn has been going on; empty when none does.
pub(super) fn turn_age(started_ms: i64, now_ms: i64) -> String {
    match started_ms {
        0 => String::new(),
        started => age(now_ms - started),
    }
}

fn beneath(id: String, state: &str, what: &str, age: String) -> [String; 9] {
    let empty = String::new;
    let what = ps::shorten(what);
    [
        id,
        state.to_owned(),
        what,
        empty(),
        age,
        empty(),
        empty(),
        empty(),
        empty(),
    ]
}

/// The first line of a job's command.
pub(super) fn command(job: &Job) -> &str {
    job.command.trim().lines().next().unwrap_or_default()
}
