//! A screen without a terminal or a daemon, and the updates that a daemon would send.

use crossterm::event::KeyEvent;
use quire_proto::v1::{
    self, Item, ItemStatus, SessionServiceWatchResponse as Response, event::Body, item::Kind,
    session_service_watch_response::Update,
};
use ratatui::{Terminal, backend::TestBackend};

use crate::tui::{
    app::{App, Effect, Input, Met, Role, Setup},
    draw::draw,
    keys,
};

/// When all of it happens, in milliseconds since the Unix epoch.
pub(super) const NOW: i64 = 1_000_000;

/// This process.
pub(super) const ME: u32 = 4_000;

/// A screen that is told updates and pressed keys.
pub(super) struct Stage {
    pub(super) app: App,
    seq: u64,
    now_ms: i64,
}

impl Stage {
    /// A new session, as its first watcher sees it.
    pub(super) fn new() -> Self {
        Self::with(Role::Work)
    }

    pub(super) fn with(role: Role) -> Self {
        let setup = Setup {
            session: "k3m9x2rt7w".into(),
            role,
            pid: ME,
            colour: true,
        };
        let mut stage = Self {
            app: App::new(setup),
            seq: 0,
            now_ms: NOW,
        };
        stage.input(Input::LinkFound(found("c1")));
        let policy = v1::Policy {
            sandbox: v1::SandboxMode::WorkspaceWrite.into(),
            approve: v1::ApprovePolicy::OnRequest.into(),
            ..v1::Policy::default()
        };
        stage.event(Body::SessionCreated(v1::SessionCreated {
            workspace: "/home/u/sample".into(),
            cwd: "/home/u/sample".into(),
            model: "openai/gpt-5.2".into(),
            policy: Some(policy),
            ..v1::SessionCreated::default()
        }));
        stage.update(Update::Synced(v1::Synced { seq: 1 }));
        stage
    }

    pub(super) fn input(&mut self, input: Input) -> Vec<Effect> {
        self.app.step(self.now_ms, input)
    }

    /// Lets time pass.
    pub(super) fn wait(&mut self, ms: i64) -> &mut Self {
        self.now_ms += ms;
        self.input(Input::Tick);
        self
    }

    pub(super) fn update(&mut self, update: Update) -> Vec<Effect> {
        let update = Some(update);
        self.input(Input::Update(Box::new(Response { update })))
    }

    pub(super) fn event(&mut self, body: Body) -> Vec<Effect> {
        self.event_of(Some(body), None)
    }

    pub(super) fn event_of(
        &mut self,
        body: Option<Body>,
        by: Option<v1::ClientRef>,
    ) -> Vec<Effect> {
        self.seq += 1;
        let event = v1::Event {
            seq: self.seq,
            time_ms: self.now_ms,
            by,
            body,
            ..v1::Event::default()
        };
        self.update(Update::Event(event))
    }

    /// Everything durable has come.
    pub(super) fn synced(&mut self) -> Vec<Effect> {
        let seq = self.seq;
        self.update(Update::Synced(v1::Synced { seq }))
    }

    /// Item 7 is a command that goes on as `job`.
    pub(super) fn in_background(&mut self, title: &str, job: &str) -> &mut Self {
        self.growing(7, Kind::ToolCall(command(title)));
        self.event(Body::JobStarted(v1::JobStarted {
            job_id: job.into(),
            item: 7,
            command: title.into(),
            ..v1::JobStarted::default()
        }));
        let outcome = v1::Outcome {
            status: v1::OutcomeStatus::Succeeded.into(),
            job_id: job.into(),
            still_running: true,
            ..v1::Outcome::default()
        };
        self.item(
            7,
            Kind::ToolCall(v1::ToolCallItem {
                outcome: Some(outcome),
                ..command(title)
            }),
        )
    }

    pub(super) fn turn_started(&mut self) -> &mut Self {
        let model = "openai/gpt-5.2".into();
        self.event(Body::TurnStarted(v1::TurnStarted { turn: 1, model }));
        self
    }

    pub(super) fn turn_ended(&mut self, reason: v1::StopReason, error: &str) -> Vec<Effect> {
        let usage = v1::Usage {
            input_tokens: 11_200,
            output_tokens: 1_100,
            cost_micros: 42_000,
            ..v1::Usage::default()
        };
        self.event(Body::SampleEnded(v1::SampleEnded {
            turn: 1,
            usage: Some(usage),
            ..v1::SampleEnded::default()
        }));
        self.event(Body::TurnEnded(v1::TurnEnded {
            turn: 1,
            stop_reason: reason.into(),
            usage: Some(usage),
            error: error.into(),
            ..v1::TurnEnded::default()
        }))
    }

    /// An item that is complete at once.
    pub(super) fn item(&mut self, id: u64, kind: Kind) -> &mut Self {
        let item = Some(item(id, ItemStatus::Completed, kind));
        self.event(Body::ItemCompleted(v1::ItemCompleted { item }));
        self
    }

    /// An item that grows.
    pub(super) fn growing(&mut self, id: u64, kind: Kind) -> &mut Self {
        let item = Some(item(id, ItemStatus::Growing, kind));
        self.event(Body::ItemStarted(v1::ItemStarted { item }));
        self
    }

    pub(super) fn delta(&mut self, item: u64, offset: u64, data: impl Into<Vec<u8>>) -> &mut Self {
        let data = data.into();
        self.update(Update::Delta(v1::Delta { item, offset, data }));
        self
    }

    pub(super) fn activity(&mut self, kind: v1::ActivityKind, detail: &str) -> &mut Self {
        let since_ms = self.now_ms;
        self.update(Update::Activity(v1::Activity {
            turn: 1,
            kind: kind.into(),
            detail: detail.into(),
            since_ms,
            until_ms: 0,
        }));
        self
    }

    pub(super) fn ask(&mut self, approval: v1::Approval) -> &mut Self {
        let approval = Some(approval);
        self.event(Body::ApprovalRequested(v1::ApprovalRequested { approval }));
        self.wait(1_000)
    }

    /// Presses one key, written as in the table of keys.
    pub(super) fn press(&mut self, key: &str) -> Vec<Effect> {
        let key: keys::Chord = key.parse().unwrap();
        self.input(Input::Key(KeyEvent::from(key)))
    }

    pub(super) fn write(&mut self, text: &str) -> &mut Self {
        for c in text.chars() {
            self.press(&c.to_string());
        }
        self
    }

    /// The screen at this size.
    pub(super) fn picture(&mut self, width: u16, height: u16) -> String {
        self.drawn(width, height).backend().to_string()
    }

    pub(super) fn drawn(&mut self, width: u16, height: u16) -> Terminal<TestBackend> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let app = &mut self.app;
        terminal
            .draw(|frame| {
                app.prepare(frame.area());
                draw(frame, app);
            })
            .unwrap();
        terminal
    }
}

/// A daemon that knows this client by that id.
pub(super) fn found(me: &str) -> Met {
    Met {
        me: me.into(),
        pid: 4_711,
        notices: vec![],
    }
}

fn item(id: u64, status: ItemStatus, kind: Kind) -> Item {
    Item {
        id,
        turn: 1,
        status: status.into(),
        kind: Some(kind),
        ..Item::default()
    }
}

pub(super) fn prompt(text: &str) -> Kind {
    Kind::Prompt(v1::PromptItem {
        text: text.into(),
        ..v1::PromptItem::default()
    })
}

pub(super) fn message(text: &str) -> Kind {
    Kind::Message(v1::MessageItem {
        text: text.into(),
        ..v1::MessageItem::default()
    })
}

pub(super) fn reasoning(text: &str) -> Kind {
    Kind::Reasoning(v1::ReasoningItem {
        text: text.into(),
        ..v1::ReasoningItem::default()
    })
}

pub(super) fn command(title: &str) -> v1::ToolCallItem {
    v1::ToolCallItem {
        tool: "exec_command".into(),
        title: title.into(),
        access: Some(v1::Access {
            command: title.into(),
            cwd: "/home/u/sample".into(),
            ..v1::Access::default()
        }),
        intent: Some(v1::Intent {
            job_id: "j4w8".into(),
            ..v1::Intent::default()
        }),
        ..v1::ToolCallItem::default()
    }
}

pub(super) fn ran(title: &str, exit_code: i32, text: &str) -> Kind {
    Kind::ToolCall(v1::ToolCallItem {
        outcome: Some(v1::Outcome {
            status: v1::OutcomeStatus::Succeeded.into(),
            text: text.into(),
            exit_code: Some(exit_code),
            wall_ms: 1_240,
            ..v1::Outcome::default()
        }),
        ..command(title)
    })
}

pub(super) fn looked(title: &str) -> Kind {
    Kind::ToolCall(v1::ToolCallItem {
        tool: "read_file".into(),
        title: title.into(),
        outcome: Some(v1::Outcome {
            status: v1::OutcomeStatus::Succeeded.into(),
            text: "   1 fn main() {}".into(),
            ..v1::Outcome::default()
        }),
        ..v1::ToolCallItem::default()
    })
}

pub(super) fn changed(call: u64, path: &str, diff: &str) -> v1::FileChangeItem {
    let count = |sign: char| {
        diff.lines()
            .skip(2)
            .filter(|line| line.starts_with(sign))
            .count()
    };
    v1::FileChangeItem {
        files: vec![v1::FileChange {
            path: path.into(),
            operation: v1::FileOperation::Modified.into(),
            diff: diff.into(),
            added_lines: u32::try_from(count('+')).unwrap(),
            removed_lines: u32::try_from(count('-')).unwrap(),
            ..v1::FileChange::default()
        }],
        call,
    }
}

pub(super) const DIFF: &str = "--- a/src/lib.rs\n+++ b/src/lib.rs\n@@ -1,4 +1,4 @@\n \
    pub fn add(a: i32, b: i32) -> i32 {\n-    a - b\n+    a + b\n }\n \n";

pub(super) fn approval(command: &str) -> v1::Approval {
    v1::Approval {
        id: 1,
        turn: 1,
        item: 3,
        tool: "exec_command".into(),
        title: command.into(),
        access: Some(v1::Access {
            command: command.into(),
            cwd: "/home/u/sample".into(),
            ..v1::Access::default()
        }),
        reason: "a rule says to ask before `git push`".into(),
        rule: Some(v1::Rule {
            prefix: vec!["git".into(), "push".into()],
            decision: v1::Decision::Allow.into(),
            reason: String::new(),
        }),
        ..v1::Approval::default()
    }
}
