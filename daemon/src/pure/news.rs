//! What a program of the user's is told when a session needs someone: as one JSON object for programs, as a
//! title and a line for people.

use quire_proto::v1::{Approval, Job, JobEnded, Session, StopReason, TurnEnded, TurnSuspended};
use serde_json::{Map, Value, json};

/// Longest text for people, in characters.
const LINE: usize = 200;

/// Something worth telling who looks elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Which session, for people: one plain line.
    pub title: String,
    /// What happened, for people: one plain line.
    pub text: String,
    /// One JSON object on one line, which tells its kind by `type`.
    pub json: String,
}

/// A background job has ended.
#[must_use]
pub fn job_ended(session: &Session, job: &Job, ended: &JobEnded) -> News {
    let how = match ended.exit_code {
        Some(code) => format!("ended with exit code {code}"),
        None => "ended, it is not known how".to_owned(),
    };
    let told = json!({
        "job": job.id,
        "command": job.command,
        "exit_code": ended.exit_code,
        "output_bytes": ended.output_bytes,
    });
    news(
        session,
        "job-ended",
        &format!("{how}: {}", job.command),
        told,
    )
}

/// An approval waits.
#[must_use]
pub fn approval_asked(session: &Session, approval: &Approval) -> News {
    let told = json!({
        "approval": approval.id,
        "tool": approval.tool,
        "what": approval.title,
        "reason": approval.reason,
    });
    news(
        session,
        "approval-asked",
        &format!("needs an approval: {}", approval.title),
        told,
    )
}

/// A turn waits for a person or a client.
#[must_use]
pub fn turn_suspended(session: &Session, suspended: &TurnSuspended) -> News {
    let told = json!({ "turn": suspended.turn, "reason": suspended.reason });
    let text = format!("is suspended: {}", suspended.reason);
    news(session, "turn-suspended", &text, told)
}

/// A turn has ended.
#[must_use]
pub fn turn_ended(session: &Session, ended: &TurnEnded) -> News {
    let reason = stop_word(ended.stop_reason());
    let told = json!({ "turn": ended.turn, "stop_reason": reason, "error": ended.error });
    let text = match ended.error.as_str() {
        "" if ended.stop_reason() == StopReason::Done => "is done".to_owned(),
        "" => format!("stopped: {reason}"),
        error => format!("stopped: {error}"),
    };
    news(session, "turn-ended", &text, told)
}

fn news(session: &Session, kind: &str, text: &str, told: Value) -> News {
    let mut object = Map::new();
    object.insert("type".to_owned(), kind.into());
    object.insert("session".to_owned(), session.id.clone().into());
    object.insert("title".to_owned(), session.title.clone().into());
    object.insert("workspace".to_owned(), session.workspace.clone().into());
    if let Value::Object(told) = told {
        object.extend(told);
    }
    let name = [&session.title, &session.id];
    let name = name.into_iter().find(|name| !name.trim().is_empty());
    News {
        title: plain(name.map_or("Quire", String::as_str)),
        text: plain(text),
        json: Value::Object(object).to_string(),
    }
}

/// One line without anything that is not text.
fn plain(text: &str) -> String {
    let mut line = text.trim().lines();
    let shown: String = line
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|letter| !letter.is_control())
        .take(LINE)
        .collect();
    if shown.chars().count() == LINE || line.next().is_some() {
        return format!("{shown} ...");
    }
    shown
}

fn stop_word(reason: StopReason) -> &'static str {
    match reason {
        StopReason::Unspecified => "unknown",
        StopReason::Done => "done",
        StopReason::Interrupted => "interrupted",
        StopReason::Denied => "denied",
        StopReason::ModelError => "model-error",
        StopReason::Limit => "limit",
        StopReason::Internal => "internal",
        StopReason::MaxTokens => "max-tokens",
        StopReason::Refused => "refused",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session {
            id: "s".to_owned(),
            title: "a \"title\"".to_owned(),
            workspace: "/w".to_owned(),
            ..Session::default()
        }
    }

    #[test]
    fn each_kind_has_its_object_and_its_line() {
        let job = Job {
            id: "jx".to_owned(),
            command: "a\nb".to_owned(),
            ..Job::default()
        };
        let job_end = JobEnded {
            output_bytes: 7,
            ..JobEnded::default()
        };
        let approval = Approval {
            id: 3,
            tool: "exec".to_owned(),
            title: "git push".to_owned(),
            reason: "others see it".to_owned(),
            ..Approval::default()
        };
        let suspended = TurnSuspended {
            turn: 2,
            reason: "no key".to_owned(),
            wants_world: true,
        };
        let done = TurnEnded {
            turn: 2,
            stop_reason: StopReason::Done.into(),
            ..TurnEnded::default()
        };
        let failed = TurnEnded {
            turn: 2,
            stop_reason: StopReason::ModelError.into(),
            error: "nobody\u{1b} answers".to_owned(),
            ..TurnEnded::default()
        };
        let table = [
            (
                job_ended(&session(), &job, &job_end),
                json!({"type": "job-ended", "job": "jx", "command": "a\nb", "exit_code": null, "output_bytes": 7}),
                "ended, it is not known how: a ...",
            ),
            (
                approval_asked(&session(), &approval),
                json!({"type": "approval-asked", "approval": 3, "tool": "exec", "what": "git push", "reason": "others see it"}),
                "needs an approval: git push",
            ),
            (
                turn_suspended(&session(), &suspended),
                json!({"type": "turn-suspended", "turn": 2, "reason": "no key"}),
                "is suspended: no key",
            ),
            (
                turn_ended(&session(), &done),
                json!({"type": "turn-ended", "turn": 2, "stop_reason": "done", "error": ""}),
                "is done",
            ),
            (
                turn_ended(&session(), &failed),
                json!({"type": "turn-ended", "turn": 2, "stop_reason": "model-error", "error": "nobody\u{1b} answers"}),
                "stopped: nobody answers",
            ),
        ];
        for (news, mut want, text) in table {
            want["session"] = "s".into();
            want["title"] = "a \"title\"".into();
            want["workspace"] = "/w".into();
            let got: Value = serde_json::from_str(&news.json).unwrap();
            assert_eq!(got, want);
            assert!(!news.json.contains('\n'), "one line");
            assert_eq!(
                (news.title.as_str(), news.text.as_str()),
                ("a \"title\"", text)
            );
        }
    }

    #[test]
    fn a_line_for_people_is_short_and_names_the_session() {
        let nameless = Session {
            id: "bcd".to_owned(),
            ..Session::default()
        };
        let suspended = TurnSuspended {
            reason: "x".repeat(1_000),
            ..TurnSuspended::default()
        };
        let news = turn_suspended(&nameless, &suspended);
        assert_eq!(news.title, "bcd");
        assert_eq!(news.text.chars().count(), LINE + 4);
    }
}
