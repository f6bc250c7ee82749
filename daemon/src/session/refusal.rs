//! What a refusal tells of others: which turn runs and who began it, who answered an approval and how.

use std::fmt;

use quire_proto::v1::{Approval, ApprovalAnswer, ApprovalVerdict, ClientRef};

use crate::pure::transcript::Transcript;

/// The turn that runs, for whoever had another in mind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Running {
    /// 0 when none does.
    pub turn: u64,
    /// Who began it; `None` when no client with a name did.
    pub by: Option<ClientRef>,
    /// Whether it is being interrupted.
    pub interrupted: bool,
}

impl Running {
    /// The running turn of a session.
    #[must_use]
    pub fn of(transcript: &Transcript) -> Self {
        let turn = transcript.running_turn();
        Self {
            turn: turn.map_or(0, |turn| turn.get()),
            by: turn.and(transcript.turn_by()).cloned(),
            interrupted: turn.is_some() && transcript.is_interrupted(),
        }
    }

    pub(super) fn instead_of(&self, expected: u64) -> String {
        if self.turn == expected {
            self.to_string()
        } else {
            format!("turn {expected} is not running: {self}")
        }
    }

    pub(super) fn busy(&self) -> String {
        match self.turn {
            0 => "prompts wait to be begun: send with mode queue".to_owned(),
            _ => format!("{self}: send with mode steer or queue, or interrupt it"),
        }
    }
}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match (self.turn, self.interrupted) {
            (0, _) => return f.write_str("no turn is"),
            (_, true) => "is being interrupted",
            (_, false) => "is running",
        };
        write!(f, "turn {} {state}", self.turn)?;
        match &self.by {
            Some(by) => write!(f, ", begun from {}", named(by)),
            None => Ok(()),
        }
    }
}

/// An approval in few words.
fn about(approval: &Approval) -> String {
    match approval.title.as_str() {
        "" => approval.id.to_string(),
        title => format!("{} (`{title}`)", approval.id),
    }
}

fn named(client: &ClientRef) -> String {
    format!("{} (pid {})", client.name, client.pid)
}

/// How an approval was answered, and by whom.
pub(super) fn already(approval: &Approval, newest: bool) -> String {
    let answer = approval.answer.clone().unwrap_or_default();
    let about = about(approval);
    let which = match newest {
        true => format!("no approval is pending: the newest, {about},"),
        false => format!("approval {about}"),
    };
    format!("{which} {}", how(&answer))
}

fn how(answer: &ApprovalAnswer) -> String {
    if answer.automatic {
        return format!("was withdrawn: {}", answer.message);
    }
    let verdict = match answer.verdict() {
        ApprovalVerdict::Deny => "denied",
        ApprovalVerdict::Session => "approved for the session",
        ApprovalVerdict::Rule => "approved by a rule",
        ApprovalVerdict::Once | ApprovalVerdict::Unspecified => "approved",
    };
    match &answer.by {
        Some(client) => format!("was already {verdict} from {}", named(client)),
        None => format!("was already {verdict} by a client without a name"),
    }
}

/// There is nothing to answer under that number; 0 stands for the only one pending.
pub(super) fn nothing_to_answer(number: u64, pending: &[Approval]) -> String {
    match (number, pending) {
        (0, _) => "no approval is pending".to_owned(),
        (_, []) => format!("this session has no approval {number}, and none is pending"),
        (_, some) => format!(
            "this session has no approval {number}: pending is {}",
            list(some)
        ),
    }
}

/// Several approvals by number.
pub(super) fn several(pending: &[Approval]) -> String {
    let count = pending.len();
    format!(
        "{count} approvals are pending, name one by its number: {}",
        list(pending)
    )
}

fn list(approvals: &[Approval]) -> String {
    let all: Vec<_> = approvals.iter().map(about).collect();
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> Option<ClientRef> {
        Some(ClientRef {
            name: "tui".to_owned(),
            pid: 12,
            ..ClientRef::default()
        })
    }

    #[test]
    fn a_race_for_a_turn_tells_what_runs_instead() {
        let table = [
            (0, None, false, "turn 3 is not running: no turn is"),
            (4, None, false, "turn 3 is not running: turn 4 is running"),
            (
                4,
                client(),
                false,
                "turn 3 is not running: turn 4 is running, begun from tui (pid 12)",
            ),
            (
                3,
                client(),
                true,
                "turn 3 is being interrupted, begun from tui (pid 12)",
            ),
        ];
        for (turn, by, interrupted, want) in table {
            let running = Running {
                turn,
                by,
                interrupted,
            };
            assert_eq!(running.instead_of(3), want);
        }
    }

    #[test]
    fn a_late_answer_learns_who_decided_and_what() {
        use ApprovalVerdict::{Deny, Once, Rule, Session};
        let table = [
            (
                Once,
                client(),
                false,
                "was already approved from tui (pid 12)",
            ),
            (
                Session,
                client(),
                false,
                "was already approved for the session from tui (pid 12)",
            ),
            (
                Rule,
                client(),
                false,
                "was already approved by a rule from tui (pid 12)",
            ),
            (
                Deny,
                None,
                false,
                "was already denied by a client without a name",
            ),
            (Deny, None, true, "was withdrawn: the turn was interrupted"),
        ];
        for (verdict, by, automatic, want) in table {
            let answer = ApprovalAnswer {
                verdict: verdict.into(),
                by,
                automatic,
                message: "the turn was interrupted".to_owned(),
                ..ApprovalAnswer::default()
            };
            let approval = Approval {
                id: 2,
                title: "rm x".to_owned(),
                answer: Some(answer),
                ..Approval::default()
            };
            assert_eq!(
                already(&approval, false),
                format!("approval 2 (`rm x`) {want}")
            );
            let newest = format!("no approval is pending: the newest, 2 (`rm x`), {want}");
            assert_eq!(already(&approval, true), newest);
        }
    }
}
