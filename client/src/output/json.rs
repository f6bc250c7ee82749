//! The session as JSON lines, in the vocabulary that scripts already parse from `codex exec --json`.
//!
//! `thread` is our session there, and only there. Items are named `item_N` by their place in the
//! session, so that the same item has the same name however often it is read. A plan that changes
//! is one `todo_list` item, as those scripts expect. What the vocabulary has no word for is left out.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use quire_proto::{
    id::{ItemId, TurnId},
    v1::{
        self, FileChange, FileOperation, NoticeLevel, OutcomeStatus, PlanItem, PlanStepStatus,
        ToolCallItem, item::Kind,
    },
};
use serde::Serialize;

use super::{End, Fold, Printed, command_output, json_text, whole_message};
use crate::{
    failure::Failure,
    view::{Change, Marked, View, ViewItem, words_of_loss},
};

#[derive(Serialize)]
#[serde(tag = "type")]
enum Line {
    #[serde(rename = "thread.started")]
    ThreadStarted { thread_id: String },
    #[serde(rename = "turn.started")]
    TurnStarted,
    #[serde(rename = "item.started")]
    ItemStarted { item: Item },
    #[serde(rename = "item.updated")]
    ItemUpdated { item: Item },
    #[serde(rename = "item.completed")]
    ItemCompleted { item: Item },
    #[serde(rename = "turn.completed")]
    TurnCompleted { usage: Usage },
    #[serde(rename = "turn.failed")]
    TurnFailed { error: Message },
    #[serde(rename = "error")]
    Error(Message),
}

#[derive(Serialize)]
struct Message {
    message: String,
}

#[derive(Serialize)]
struct Usage {
    input_tokens: u64,
    cached_input_tokens: u64,
    output_tokens: u64,
    reasoning_output_tokens: u64,
}

#[derive(Serialize)]
struct Item {
    id: String,
    #[serde(flatten)]
    body: Body,
}

#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Body {
    AgentMessage {
        text: String,
    },
    Reasoning {
        text: String,
    },
    CommandExecution {
        command: String,
        aggregated_output: String,
        exit_code: Option<i32>,
        status: Status,
    },
    FileChange {
        changes: Vec<PathChange>,
        status: Status,
    },
    TodoList {
        items: Vec<Todo>,
    },
    Error {
        message: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    InProgress,
    Completed,
    Failed,
    Declined,
}

#[derive(Clone, Debug, Serialize)]
struct PathChange {
    path: String,
    kind: PathChangeKind,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum PathChangeKind {
    Add,
    Delete,
    Update,
}

#[derive(Clone, Debug, Serialize)]
struct Todo {
    text: String,
    completed: bool,
}

/// One session as JSON lines on standard output; standard error stays empty.
#[derive(Debug, Default)]
pub struct Json {
    in_turn: bool,
    /// Calls that were told to have started.
    started: BTreeSet<ItemId>,
    /// The plan of the running turn, under the name it began with.
    plan: Option<(ItemId, Body)>,
}

impl Json {
    /// The line that names the session; the first of all.
    pub fn thread(session: &str, printed: &mut Printed) {
        let thread_id = session.to_owned();
        line(printed, &Line::ThreadStarted { thread_id });
    }

    fn change(&mut self, view: &View, change: Change, printed: &mut Printed) {
        match change {
            Change::TurnStarted(_) => self.start_turn(printed),
            Change::TurnEnded(turn) => self.end_turn(view, turn, printed),
            Change::ItemAppeared(id) | Change::ItemChanged(id) => {
                if let Some(item) = view.item(id) {
                    self.start_item(id, item, printed);
                }
            }
            Change::ItemSettled(id) => {
                if let Some(item) = view.item(id) {
                    self.settle_item(id, item, printed);
                }
            }
            Change::NewerEvent(seq) => {
                let message = format!("newer event (seq {seq}): this client does not know it");
                error_at(seq, message, printed);
            }
            Change::EventsLost(seq) => {
                if let Some(Marked::Lost { events }) = view.mark_at(seq).map(|mark| &mark.what) {
                    error_at(seq, words_of_loss(*events), printed);
                }
            }
            _ => {}
        }
    }

    fn start_turn(&mut self, printed: &mut Printed) {
        if !self.in_turn {
            self.in_turn = true;
            line(printed, &Line::TurnStarted);
        }
    }

    fn end_turn(&mut self, view: &View, turn: TurnId, printed: &mut Printed) {
        if let Some((id, plan)) = self.plan.take() {
            let item = named(id, plan);
            line(printed, &Line::ItemCompleted { item });
        }
        self.in_turn = false;
        let Some(ended) = view.turn(turn).and_then(|turn| turn.ended.as_ref()) else {
            return;
        };
        let last = match Failure::of_turn(ended) {
            Some(failure) => Line::TurnFailed {
                error: message_of(&failure),
            },
            None => Line::TurnCompleted {
                usage: usage(ended.usage.as_ref()),
            },
        };
        line(printed, &last);
    }

    /// Only commands are told when they start, and only once it is known what runs.
    fn start_item(&mut self, id: ItemId, item: &ViewItem, printed: &mut Printed) {
        let Some(Kind::ToolCall(call)) = item.kind() else {
            return;
        };
        let known = call.access.is_some() || !call.title.is_empty();
        if item.is_growing() && known && is_command(call) && self.started.insert(id) {
            self.start_turn(printed);
            let item = named(id, command_execution(call));
            line(printed, &Line::ItemStarted { item });
        }
    }

    fn settle_item(&mut self, id: ItemId, item: &ViewItem, printed: &mut Printed) {
        self.started.remove(&id);
        let body = match item.kind() {
            Some(Kind::Plan(plan)) => return self.plan(id, plan, printed),
            Some(kind) => body_of(kind, item),
            None => None,
        };
        if let Some(body) = body {
            if item.item().turn != 0 {
                // Joined while the turn was under way.
                self.start_turn(printed);
            }
            let item = named(id, body);
            line(printed, &Line::ItemCompleted { item });
        }
    }

    fn plan(&mut self, id: ItemId, plan: &PlanItem, printed: &mut Printed) {
        self.start_turn(printed);
        let body = todo_list(plan);
        let first = self.plan.as_ref().map(|(first, _)| *first);
        let item = named(first.unwrap_or(id), body.clone());
        match first {
            Some(_) => line(printed, &Line::ItemUpdated { item }),
            None => line(printed, &Line::ItemStarted { item }),
        }
        self.plan = Some((first.unwrap_or(id), body));
    }
}

impl Fold for Json {
    fn changed(&mut self, view: &View, changes: &[Change], printed: &mut Printed) {
        for change in changes {
            self.change(view, *change, printed);
        }
    }
}

/// A failure outside any turn, as a line.
pub fn failure(failure: &Failure, printed: &mut Printed) {
    line(printed, &Line::Error(message_of(failure)));
}

/// Something wrong with the log, told as an item where it stands.
fn error_at(seq: u64, message: String, printed: &mut Printed) {
    let id = format!("event_{seq}");
    let body = Body::Error { message };
    let item = Item { id, body };
    line(printed, &Line::ItemCompleted { item });
}

fn line(printed: &mut Printed, value: &Line) {
    let text = json_text(value);
    let out = printed.to(End::Out);
    out.push_str(&text);
    out.push('\n');
}

fn named(id: ItemId, body: Body) -> Item {
    Item {
        id: format!("item_{id}"),
        body,
    }
}

fn message_of(failure: &Failure) -> Message {
    Message {
        message: failure.message().unwrap_or("stopped").to_owned(),
    }
}

fn usage(usage: Option<&v1::Usage>) -> Usage {
    let usage = usage.copied().unwrap_or_default();
    Usage {
        input_tokens: usage.input_tokens,
        cached_input_tokens: usage.cached_tokens,
        output_tokens: usage.output_tokens,
        reasoning_output_tokens: usage.reasoning_tokens,
    }
}

fn body_of(kind: &Kind, item: &ViewItem) -> Option<Body> {
    match kind {
        Kind::Message(_) => {
            whole_message(item).map(|text| Body::AgentMessage { text: text.into() })
        }
        Kind::Reasoning(_) => Some(item.text())
            .filter(|text| !text.is_empty())
            .map(|text| Body::Reasoning { text: text.into() }),
        Kind::ToolCall(call) if is_command(call) => Some(command_execution(call)),
        Kind::ToolCall(call) => failed_edit(call),
        Kind::FileChange(change) => Some(Body::FileChange {
            changes: change.files.iter().flat_map(changes_of).collect(),
            status: Status::Completed,
        }),
        Kind::Notice(notice) if notice.for_model => None,
        Kind::Notice(notice) => match notice.level() {
            NoticeLevel::Warning | NoticeLevel::Error => Some(Body::Error {
                message: notice.text.clone(),
            }),
            NoticeLevel::Info | NoticeLevel::Unspecified => None,
        },
        Kind::Prompt(_) | Kind::Plan(_) | Kind::Compaction(_) => None,
    }
}

/// Every call is a command there, but for edits and plans, which are told by what they made.
fn is_command(call: &ToolCallItem) -> bool {
    !matches!(call.tool.as_str(), "apply_patch" | "update_plan")
}

fn command_execution(call: &ToolCallItem) -> Body {
    let command = call.access.as_ref().map(|access| access.command.as_str());
    let command = [command.unwrap_or_default(), &call.title];
    let command = command.into_iter().find(|text| !text.is_empty());
    let outcome = call.outcome.as_ref();
    Body::CommandExecution {
        command: command.unwrap_or(&call.tool).to_owned(),
        aggregated_output: outcome.map(command_output).unwrap_or_default().to_owned(),
        exit_code: outcome.and_then(|outcome| outcome.exit_code),
        status: call_status(call),
    }
}

fn call_status(call: &ToolCallItem) -> Status {
    let Some(outcome) = &call.outcome else {
        return Status::InProgress;
    };
    match outcome.status() {
        OutcomeStatus::Succeeded if outcome.exit_code.is_none_or(|code| code == 0) => {
            Status::Completed
        }
        OutcomeStatus::Denied => Status::Declined,
        _ => Status::Failed,
    }
}

/// An edit that landed is told by its file change item, which follows.
fn failed_edit(call: &ToolCallItem) -> Option<Body> {
    let status = call_status(call);
    if call.tool != "apply_patch" || status == Status::Completed {
        return None;
    }
    let writes = call.access.iter().flat_map(|access| &access.writes);
    let planned = planned(call);
    let changes = writes.map(|path| {
        let of_path = planned
            .iter()
            .find(|(name, _)| Path::new(path).ends_with(name.trim_start_matches("./")));
        let kind = of_path.map_or(PathChangeKind::Update, |(_, kind)| *kind);
        path_change(path, kind)
    });
    Some(Body::FileChange {
        changes: changes.collect(),
        status,
    })
}

/// What the headers of a patch say would happen to which path.
fn planned(call: &ToolCallItem) -> Vec<(String, PathChangeKind)> {
    // Some models write the patch into a JSON object.
    let object = serde_json::from_str::<BTreeMap<String, String>>(&call.arguments);
    let texts = match object {
        Ok(object) => object.into_values().collect(),
        Err(_patch_itself) => vec![call.arguments.clone()],
    };
    let lines = texts.iter().flat_map(|text| text.lines());
    let planned = lines.filter_map(|line| {
        let (what, path) = line.trim().strip_prefix("*** ")?.split_once(": ")?;
        let kind = match what {
            "Add File" | "Move to" => PathChangeKind::Add,
            "Delete File" => PathChangeKind::Delete,
            _ => return None,
        };
        Some((path.trim().to_owned(), kind))
    });
    planned.collect()
}

fn changes_of(file: &FileChange) -> Vec<PathChange> {
    use PathChangeKind::{Add, Delete, Update};
    match file.operation() {
        FileOperation::Added => vec![path_change(&file.path, Add)],
        FileOperation::Deleted => vec![path_change(&file.path, Delete)],
        FileOperation::Moved => vec![
            path_change(&file.moved_from, Delete),
            path_change(&file.path, Add),
        ],
        FileOperation::Modified | FileOperation::Unspecified => {
            vec![path_change(&file.path, Update)]
        }
    }
}

fn path_change(path: &str, kind: PathChangeKind) -> PathChange {
    PathChange {
        path: path.to_owned(),
        kind,
    }
}

fn todo_list(plan: &PlanItem) -> Body {
    let items = plan.steps.iter().map(|step| Todo {
        text: step.text.clone(),
        completed: step.status() == PlanStepStatus::Completed,
    });
    Body::TodoList {
        items: items.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::story, *};

    #[test]
    fn a_repair_in_the_vocabulary_of_scripts() {
        let printed = story::fold(&mut Json::default(), &story::repair());
        assert_eq!(printed.text(End::Err), "");
        insta::assert_snapshot!(printed.text(End::Out), @r#"
        {"type":"turn.started"}
        {"type":"item.completed","item":{"id":"item_2","type":"reasoning","text":"Run them first."}}
        {"type":"item.completed","item":{"id":"item_3","type":"agent_message","text":"I run the tests."}}
        {"type":"item.started","item":{"id":"item_4","type":"todo_list","items":[{"text":"find it","completed":true},{"text":"repair it","completed":false}]}}
        {"type":"item.started","item":{"id":"item_5","type":"command_execution","command":"sh test.sh","aggregated_output":"","exit_code":null,"status":"in_progress"}}
        {"type":"item.completed","item":{"id":"item_5","type":"command_execution","command":"sh test.sh","aggregated_output":"1 test failed\n","exit_code":1,"status":"failed"}}
        {"type":"item.completed","item":{"id":"item_6","type":"error","message":"no AGENTS.md"}}
        {"type":"item.completed","item":{"id":"item_8","type":"file_change","changes":[{"path":"calc.sh","kind":"update"}],"status":"completed"}}
        {"type":"item.updated","item":{"id":"item_4","type":"todo_list","items":[{"text":"find it","completed":true},{"text":"repair it","completed":true}]}}
        {"type":"item.started","item":{"id":"item_10","type":"command_execution","command":"sh test.sh","aggregated_output":"","exit_code":null,"status":"in_progress"}}
        {"type":"item.completed","item":{"id":"item_10","type":"command_execution","command":"sh test.sh","aggregated_output":"ok\n","exit_code":0,"status":"completed"}}
        {"type":"item.completed","item":{"id":"item_11","type":"agent_message","text":"All tests pass now."}}
        {"type":"item.completed","item":{"id":"item_4","type":"todo_list","items":[{"text":"find it","completed":true},{"text":"repair it","completed":true}]}}
        {"type":"turn.completed","usage":{"input_tokens":1000,"cached_input_tokens":600,"output_tokens":50,"reasoning_output_tokens":20}}
        "#);
    }

    #[test]
    fn a_denied_patch_tells_what_it_would_have_done() {
        let patch = "*** Begin Patch\n*** Add File: new.txt\n+x\n*** Delete File: src/old.txt\n*** Update File: new.txt.bak\n*** End Patch";
        let in_object = serde_json::json!({ "patch": patch }).to_string();
        for arguments in [patch.to_owned(), in_object] {
            let writes = ["/w/new.txt", "/w/src/old.txt", "/w/new.txt.bak"];
            let access = v1::Access {
                writes: writes.map(str::to_owned).into(),
                ..v1::Access::default()
            };
            let outcome = v1::Outcome {
                status: OutcomeStatus::Denied.into(),
                ..v1::Outcome::default()
            };
            let call = ToolCallItem {
                tool: "apply_patch".into(),
                arguments,
                access: Some(access),
                outcome: Some(outcome),
                ..ToolCallItem::default()
            };
            insta::allow_duplicates! {
                insta::assert_snapshot!(
                    json_text(&failed_edit(&call)),
                    @r#"{"type":"file_change","changes":[{"path":"/w/new.txt","kind":"add"},{"path":"/w/src/old.txt","kind":"delete"},{"path":"/w/new.txt.bak","kind":"update"}],"status":"declined"}"#
                );
            }
        }
    }

    #[test]
    fn lost_events_are_one_error_and_the_end_of_a_job_is_none() {
        let printed = story::fold(&mut Json::default(), &story::damage());
        insta::assert_snapshot!(printed.text(End::Out), @r#"
        {"type":"turn.started"}
        {"type":"item.started","item":{"id":"item_2","type":"command_execution","command":"npm run dev","aggregated_output":"","exit_code":null,"status":"in_progress"}}
        {"type":"item.completed","item":{"id":"item_2","type":"command_execution","command":"npm run dev","aggregated_output":"","exit_code":null,"status":"completed"}}
        {"type":"item.completed","item":{"id":"event_7","type":"error","message":"17 events were lost by the disk"}}
        {"type":"turn.completed","usage":{"input_tokens":1000,"cached_input_tokens":600,"output_tokens":50,"reasoning_output_tokens":20}}
        "#);
    }

    #[test]
    fn a_failed_turn_says_so() {
        let printed = story::fold(&mut Json::default(), &story::failure());
        insta::assert_snapshot!(printed.text(End::Out), @r#"
        {"type":"turn.started"}
        {"type":"item.completed","item":{"id":"item_2","type":"agent_message","text":"I am"}}
        {"type":"turn.failed","error":{"message":"cannot reach `x`"}}
        "#);
    }

    #[test]
    fn a_session_is_named_first_and_errors_stand_alone() {
        let mut printed = Printed::default();
        Json::thread("bcdfgh2345", &mut printed);
        failure(&Failure::usage("no such session"), &mut printed);
        insta::assert_snapshot!(printed.text(End::Out), @r#"
        {"type":"thread.started","thread_id":"bcdfgh2345"}
        {"type":"error","message":"no such session"}
        "#);
    }
}
