//! Sessions for tests: what a watch would stream of them.

use quire_proto::v1::{
    self, Access, Event, Item, ItemStatus, OutcomeStatus, SessionServiceWatchResponse, StopReason,
    event::Body, item::Kind, session_service_watch_response::Update as Kinds,
};

use super::{Fold, Printed};
use crate::view::View;

/// One update of a watch.
pub(super) type Update = SessionServiceWatchResponse;

/// What `fold` prints of a story.
pub(super) fn fold(fold: &mut impl Fold, story: &[Update]) -> Printed {
    let mut view = View::default();
    let mut printed = Printed::default();
    for update in story {
        let changes = view.apply(update);
        fold.changed(&view, &changes, &mut printed);
    }
    printed
}

/// A failing test is found and repaired.
pub(super) fn repair() -> Vec<Update> {
    let mut story = Story::default();
    story.prompt("make the tests pass");
    story.settled(Kind::Reasoning(v1::ReasoningItem {
        text: "Run them first.".into(),
        ..v1::ReasoningItem::default()
    }));
    story.message(&["I run ", "the tests."]);
    story.plan(&["find it"], &["repair it"]);
    story.command("sh test.sh", "1 test failed\n", 1);
    story.settled(Kind::Notice(v1::NoticeItem {
        level: v1::NoticeLevel::Warning.into(),
        text: "no AGENTS.md".into(),
        for_model: false,
    }));
    story.edit();
    story.plan(&["find it", "repair it"], &[]);
    story.command("sh test.sh", "ok\n", 0);
    story.message(&["All tests ", "pass now."]);
    story.end(StopReason::Done, "", "");
    story.updates
}

/// The model says something and is gone.
pub(super) fn failure() -> Vec<Update> {
    let mut story = Story::default();
    story.prompt("hello");
    story.message(&["I am"]);
    story.event(Body::SampleRetried(v1::SampleRetried {
        turn: 1,
        attempt: 1,
        error: "connection refused".into(),
        wait_ms: 400,
        daemon_ended: false,
    }));
    story.end(StopReason::ModelError, "cannot reach `x`", "unreachable");
    story.updates
}

/// The disk loses some of a session, and a job ends in the background.
pub(super) fn damage() -> Vec<Update> {
    let mut story = Story::default();
    story.prompt("serve it");
    story.background("npm run dev");
    for _ in 0..17 {
        story.event(Body::EventLost(v1::EventLost {}));
    }
    story.event(Body::SampleRetried(v1::SampleRetried {
        turn: 1,
        daemon_ended: true,
        ..v1::SampleRetried::default()
    }));
    for kind in [v1::ActivityKind::Paused, v1::ActivityKind::Paused] {
        story.activity(kind, "the disk is full");
    }
    story.event(Body::JobEnded(v1::JobEnded {
        job_id: "jb2".into(),
        exit_code: Some(1),
        ..v1::JobEnded::default()
    }));
    story.settled(Kind::Prompt(v1::PromptItem {
        text: "Job jb2 has ended: exit code 1".into(),
        job_id: "jb2".into(),
        ..v1::PromptItem::default()
    }));
    story.end(StopReason::Done, "", "");
    story.updates
}

#[derive(Default)]
struct Story {
    updates: Vec<Update>,
    seq: u64,
    item: u64,
}

impl Story {
    fn event(&mut self, body: Body) {
        self.seq += 1;
        let event = Event {
            seq: self.seq,
            body: Some(body),
            ..Event::default()
        };
        self.updates.push(Update {
            update: Some(Kinds::Event(event)),
        });
    }

    fn activity(&mut self, kind: v1::ActivityKind, detail: &str) {
        let activity = v1::Activity {
            turn: 1,
            kind: kind.into(),
            detail: detail.into(),
            ..v1::Activity::default()
        };
        self.updates.push(Update {
            update: Some(Kinds::Activity(activity)),
        });
    }

    fn prompt(&mut self, text: &str) {
        self.event(Body::SessionCreated(v1::SessionCreated::default()));
        self.event(Body::TurnStarted(v1::TurnStarted {
            turn: 1,
            model: "script/x".into(),
        }));
        self.settled(Kind::Prompt(v1::PromptItem {
            text: text.into(),
            ..v1::PromptItem::default()
        }));
    }

    fn settled(&mut self, kind: Kind) {
        self.item += 1;
        self.settle(kind);
    }

    fn settle(&mut self, kind: Kind) {
        let item = Some(self.at(ItemStatus::Completed, kind));
        self.event(Body::ItemCompleted(v1::ItemCompleted { item }));
    }

    fn start(&mut self, kind: Kind) {
        self.item += 1;
        let item = Some(self.at(ItemStatus::Growing, kind));
        self.event(Body::ItemStarted(v1::ItemStarted { item }));
    }

    fn at(&self, status: ItemStatus, kind: Kind) -> Item {
        Item {
            id: self.item,
            turn: 1,
            status: status.into(),
            kind: Some(kind),
            ..Item::default()
        }
    }

    fn message(&mut self, pieces: &[&str]) {
        let message = |text: String| {
            let model = "script/x".into();
            Kind::Message(v1::MessageItem { text, model })
        };
        self.start(message(String::new()));
        self.grow(pieces);
        self.settle(message(pieces.concat()));
    }

    fn grow(&mut self, pieces: &[&str]) {
        let mut offset = 0;
        for piece in pieces {
            let delta = v1::Delta {
                item: self.item,
                offset,
                data: piece.as_bytes().to_vec(),
            };
            offset += piece.len() as u64;
            self.updates.push(Update {
                update: Some(Kinds::Delta(delta)),
            });
        }
    }

    fn command(&mut self, command: &str, output: &str, exit_code: i32) {
        let mut call = v1::ToolCallItem {
            tool: "exec_command".into(),
            title: command.into(),
            access: Some(Access {
                command: command.into(),
                ..Access::default()
            }),
            ..v1::ToolCallItem::default()
        };
        self.start(Kind::ToolCall(call.clone()));
        self.grow(&[output]);
        call.outcome = Some(v1::Outcome {
            status: OutcomeStatus::Succeeded.into(),
            text: format!("Exit code: {exit_code}\nOutput:\n{output}"),
            exit_code: Some(exit_code),
            wall_ms: 120,
            ..v1::Outcome::default()
        });
        self.settle(Kind::ToolCall(call));
    }

    /// A command that goes on as job `jb2` when its call has its outcome.
    fn background(&mut self, command: &str) {
        let mut call = v1::ToolCallItem {
            tool: "exec_command".into(),
            title: command.into(),
            access: Some(Access {
                command: command.into(),
                ..Access::default()
            }),
            ..v1::ToolCallItem::default()
        };
        self.start(Kind::ToolCall(call.clone()));
        self.event(Body::JobStarted(v1::JobStarted {
            job_id: "jb2".into(),
            item: self.item,
            command: command.into(),
            ..v1::JobStarted::default()
        }));
        call.outcome = Some(v1::Outcome {
            status: OutcomeStatus::Succeeded.into(),
            job_id: "jb2".into(),
            still_running: true,
            ..v1::Outcome::default()
        });
        self.settle(Kind::ToolCall(call));
    }

    fn edit(&mut self) {
        let call = v1::ToolCallItem {
            tool: "apply_patch".into(),
            title: "edit calc.sh".into(),
            outcome: Some(v1::Outcome {
                status: OutcomeStatus::Succeeded.into(),
                ..v1::Outcome::default()
            }),
            ..v1::ToolCallItem::default()
        };
        self.settled(Kind::ToolCall(call));
        let file = v1::FileChange {
            path: "calc.sh".into(),
            operation: v1::FileOperation::Modified.into(),
            diff: "--- a/calc.sh\n+++ b/calc.sh\n@@ -1 +1 @@\n-a - b\n+a + b\n".into(),
            added_lines: 1,
            removed_lines: 1,
            ..v1::FileChange::default()
        };
        let call = self.item;
        let files = vec![file];
        self.settled(Kind::FileChange(v1::FileChangeItem { files, call }));
    }

    fn plan(&mut self, done: &[&str], open: &[&str]) {
        let step = |text: &&str, status: v1::PlanStepStatus| v1::PlanStep {
            text: (*text).into(),
            status: status.into(),
        };
        let done = done.iter().map(|s| step(s, v1::PlanStepStatus::Completed));
        let open = open.iter().map(|s| step(s, v1::PlanStepStatus::Pending));
        self.settled(Kind::Plan(v1::PlanItem {
            explanation: String::new(),
            steps: done.chain(open).collect(),
        }));
    }

    fn end(&mut self, reason: StopReason, error: &str, kind: &str) {
        let usage = v1::Usage {
            input_tokens: 1_000,
            cached_tokens: 600,
            output_tokens: 50,
            reasoning_tokens: 20,
            cost_micros: 0,
        };
        self.event(Body::TurnEnded(v1::TurnEnded {
            turn: 1,
            stop_reason: reason.into(),
            usage: Some(usage),
            error: error.into(),
            error_kind: kind.into(),
        }));
    }
}
