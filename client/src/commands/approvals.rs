//! Approvals as people and scripts are shown them: those that wait in all sessions, and one that was just
//! answered.

use std::collections::BTreeMap;

use quire_proto::v1::{Approval, ApprovalAnswer, ApprovalServiceListRequest, ApprovalVerdict};
use serde::Serialize;
use tonic::Status;
use tonic_types::StatusExt as _;

use super::{Done, find_session, json_lines, ps::now_ms};
use crate::{
    context,
    failure::Failure,
    link::Link,
    output::table::{age, table},
};

/// An approval for scripts.
#[derive(Serialize)]
struct Line<'a> {
    session: &'a str,
    id: u64,
    turn: u64,
    tool: &'a str,
    title: &'a str,
    command: &'a str,
    cwd: &'a str,
    writes: &'a [String],
    hosts: &'a [String],
    reason: &'a str,
    /// The words that "always" would allow; `null` where no rule can be made.
    rule: Option<&'a [String]>,
    requested_ms: i64,
    answer: Option<Answer<'a>>,
}

#[derive(Serialize)]
struct Answer<'a> {
    verdict: &'static str,
    message: &'a str,
    client: Option<&'a str>,
    pid: Option<u32>,
    decided_ms: i64,
}

/// Lists what waits in all sessions, oldest first.
///
/// # Errors
///
/// What the daemon answers.
pub(super) async fn list(link: &mut Link, json: bool) -> Done {
    let listed = link
        .call(async |connection| {
            let all = ApprovalServiceListRequest::default();
            connection.approvals().list(all).await
        })
        .await?;
    let mut approvals = listed.into_inner().approvals;
    approvals.sort_by_key(|approval| approval.requested_ms);
    if json {
        return print(&approvals);
    }
    if approvals.is_empty() {
        return context::progress("nothing waits for an approval\n");
    }
    let mut titles = BTreeMap::new();
    for approval in &approvals {
        let id = &approval.session_id;
        if !titles.contains_key(id) {
            titles.insert(id.clone(), title(link, id).await?);
        }
    }
    context::print(rows(&approvals, &titles, now_ms()))
}

/// A session's title; none when it was deleted meanwhile.
async fn title(link: &mut Link, session: &str) -> Result<String, Failure> {
    match find_session(link, session).await {
        Ok(session) => Ok(session.title),
        Err(failure) if failure.exit() == crate::failure::Exit::Usage => Ok(String::new()),
        Err(failure) => Err(failure),
    }
}

/// Prints approvals as JSON lines.
///
/// # Errors
///
/// When nobody reads them.
pub(super) fn print(approvals: &[Approval]) -> Done {
    context::print(json_lines(approvals.iter().map(Line::of)))
}

/// A refusal to decide, with how long ago someone else did.
pub(super) fn told_when(status: Status) -> Status {
    let told = status.get_details_error_info();
    let decided = told
        .filter(|told| told.reason == "ANSWERED")
        .and_then(|told| told.metadata.get("decided_ms")?.parse::<i64>().ok());
    let Some(decided_ms) = decided.filter(|ms| *ms > 0) else {
        return status;
    };
    let message = format!("{}, {} ago", status.message(), age(now_ms() - decided_ms));
    Status::with_details(status.code(), message, status.details().to_vec().into())
}

impl<'a> Line<'a> {
    fn of(approval: &'a Approval) -> Self {
        let access = approval.access.as_ref();
        let text = |of: Option<&'a String>| of.map_or("", String::as_str);
        Self {
            session: &approval.session_id,
            id: approval.id,
            turn: approval.turn,
            tool: &approval.tool,
            title: &approval.title,
            command: text(access.map(|access| &access.command)),
            cwd: text(access.map(|access| &access.cwd)),
            writes: access.map_or(&[], |access| &access.writes),
            hosts: access.map_or(&[], |access| &access.hosts),
            reason: &approval.reason,
            rule: approval.rule.as_ref().map(|rule| rule.prefix.as_slice()),
            requested_ms: approval.requested_ms,
            answer: approval.answer.as_ref().map(Answer::of),
        }
    }
}

impl<'a> Answer<'a> {
    fn of(answer: &'a ApprovalAnswer) -> Self {
        Self {
            verdict: match answer.verdict() {
                ApprovalVerdict::Once | ApprovalVerdict::Unspecified => "once",
                ApprovalVerdict::Session => "session",
                ApprovalVerdict::Rule => "rule",
                ApprovalVerdict::Deny => "deny",
            },
            message: &answer.message,
            client: answer.by.as_ref().map(|by| by.name.as_str()),
            pid: answer.by.as_ref().map(|by| by.pid),
            decided_ms: answer.decided_ms,
        }
    }
}

fn rows(approvals: &[Approval], titles: &BTreeMap<String, String>, now_ms: i64) -> String {
    let header = ["SESSION", "ID", "AGE", "WAITS FOR", "TITLE"].map(str::to_owned);
    let rows = approvals.iter().map(|approval| {
        [
            approval.session_id.clone(),
            approval.id.to_string(),
            age(now_ms - approval.requested_ms),
            approval.title.clone(),
            titles
                .get(&approval.session_id)
                .cloned()
                .unwrap_or_default(),
        ]
    });
    table([header].into_iter().chain(rows))
}

#[cfg(test)]
mod tests {
    use quire_proto::v1::{Access, ClientRef, Rule};
    use tonic::Code;
    use tonic_types::ErrorDetails;

    use super::*;

    fn approval() -> Approval {
        Approval {
            id: 3,
            session_id: "bcdfgh2345".into(),
            turn: 2,
            tool: "exec_command".into(),
            title: "touch x".into(),
            reason: "it writes".into(),
            access: Some(Access {
                command: "touch x".into(),
                cwd: "/w".into(),
                ..Access::default()
            }),
            rule: Some(Rule {
                prefix: vec!["touch".into()],
                ..Rule::default()
            }),
            requested_ms: 1_000,
            ..Approval::default()
        }
    }

    #[test]
    fn what_waits_stands_in_columns() {
        let titles = [("bcdfgh2345".to_owned(), "fix the build".to_owned())].into();
        insta::assert_snapshot!(rows(&[approval()], &titles, 181_000), @r"
        SESSION     ID  AGE    WAITS FOR  TITLE
        bcdfgh2345  3   3 min  touch x    fix the build
        ");
    }

    #[test]
    fn an_approval_is_a_line_for_scripts() {
        let answered = Approval {
            answer: Some(ApprovalAnswer {
                verdict: ApprovalVerdict::Deny.into(),
                message: "no".into(),
                by: Some(ClientRef {
                    name: "tui".into(),
                    pid: 12,
                    ..ClientRef::default()
                }),
                decided_ms: 2_000,
                ..ApprovalAnswer::default()
            }),
            rule: None,
            ..approval()
        };
        let lines = [approval(), answered];
        insta::assert_snapshot!(json_lines(lines.iter().map(Line::of)), @r#"
        {"session":"bcdfgh2345","id":3,"turn":2,"tool":"exec_command","title":"touch x","command":"touch x","cwd":"/w","writes":[],"hosts":[],"reason":"it writes","rule":["touch"],"requested_ms":1000,"answer":null}
        {"session":"bcdfgh2345","id":3,"turn":2,"tool":"exec_command","title":"touch x","command":"touch x","cwd":"/w","writes":[],"hosts":[],"reason":"it writes","rule":null,"requested_ms":1000,"answer":{"verdict":"deny","message":"no","client":"tui","pid":12,"decided_ms":2000}}
        "#);
    }

    #[test]
    fn who_is_late_learns_how_late() {
        let facts = |ms: i64| BTreeMap::from([("decided_ms".to_owned(), ms.to_string())]);
        let status = |reason: &str, ms| {
            let details = ErrorDetails::with_error_info(
                reason,
                "quire.v1",
                facts(ms)
                    .into_iter()
                    .collect::<std::collections::HashMap<_, _>>(),
            );
            Status::with_error_details(Code::FailedPrecondition, "denied from tui", details)
        };
        let late = told_when(status("ANSWERED", now_ms() - 200_000));
        assert_eq!(late.message(), "denied from tui, 3 min ago");
        let kept = late.get_details_error_info().map(|info| info.reason);
        assert_eq!(kept.as_deref(), Some("ANSWERED"));
        for other in [status("NO_RULE", now_ms()), status("ANSWERED", 0)] {
            assert_eq!(told_when(other).message(), "denied from tui");
        }
    }
}
