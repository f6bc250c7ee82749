//! What an event adds to what can be found.
//!
//! What people read is found: prompts, messages, reasoning, calls with what they were asked and what
//! came of them, names of changed files, plans, notices, summaries, titles. Arguments that are JSON
//! are found by their values. Prompts that still wait, images and diffs are not.

use quire_proto::v1::{
    Event, FileChangeItem, Item, ItemStatus, Outcome, PlanItem, ToolCallItem, event::Body,
    item::Kind,
};
use serde_json::Value;

use crate::pure::outcome::OUTPUT;

/// Bytes of one item's text that can be found.
const LONGEST: usize = 256 << 10;

/// What an event changes of what can be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The session's title, in place of any before; may be empty.
    Title(String),
    /// The text of one item, in place of what was known of it.
    Item {
        /// The item.
        id: u64,
        /// Never empty.
        text: String,
    },
    /// Items after this one are no part of the conversation any more.
    Rewound(u64),
}

/// What `event` changes, if anything.
#[must_use]
pub fn change(event: &Event) -> Option<Change> {
    match event.body.as_ref()? {
        Body::SessionCreated(created) if !created.title.is_empty() => {
            Some(Change::Title(created.title.clone()))
        }
        Body::SessionChanged(changed) => changed.title.clone().map(Change::Title),
        Body::HistoryRewound(rewound) => Some(Change::Rewound(rewound.through_item)),
        Body::ItemStarted(change) => item(change.item.as_ref()?),
        Body::ItemChanged(change) => item(change.item.as_ref()?),
        Body::ItemCompleted(change) => item(change.item.as_ref()?),
        _ => None,
    }
}

fn item(item: &Item) -> Option<Change> {
    let parts = parts(item);
    let mut text = String::new();
    for part in parts.iter().filter(|part| !part.trim().is_empty()) {
        if !text.is_empty() {
            text.push('\n');
        }
        push(&mut text, part);
    }
    if text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST));
    }
    let id = item.id;
    (!text.is_empty()).then_some(Change::Item { id, text })
}

/// Adds `part` without what only colours it on a terminal, which would stick to its words.
fn push(text: &mut String, part: &str) {
    let mut pieces = part.split("\u{1b}[");
    text.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let end = piece.find(|c: char| matches!(c, '@'..='~'));
        text.push_str(end.map_or("", |end| &piece[end + 1..]));
    }
}

fn parts(item: &Item) -> Vec<String> {
    match &item.kind {
        Some(Kind::Prompt(prompt)) => vec![prompt.text.clone()],
        // Grows without events; what an event tells of it before its end is not what people see.
        Some(Kind::Message(_) | Kind::Reasoning(_)) if item.status() == ItemStatus::Growing => {
            Vec::new()
        }
        Some(Kind::Message(message)) => vec![message.text.clone()],
        Some(Kind::Reasoning(reasoning)) => vec![reasoning.text.clone()],
        Some(Kind::ToolCall(call)) => of_call(call),
        Some(Kind::FileChange(change)) => of_files(change),
        Some(Kind::Plan(plan)) => of_plan(plan),
        // What only the model is told is nothing that people look for.
        Some(Kind::Notice(notice)) if notice.for_model => Vec::new(),
        Some(Kind::Notice(notice)) => vec![notice.text.clone()],
        Some(Kind::Compaction(compaction)) => vec![compaction.summary.clone()],
        None => Vec::new(),
    }
}

fn of_call(call: &ToolCallItem) -> Vec<String> {
    let mut parts = Vec::new();
    match serde_json::from_str(&call.arguments) {
        Ok(arguments) => values(&arguments, &mut parts),
        Err(_freeform) => parts.push(call.arguments.clone()),
    }
    if !parts.iter().any(|part| part.contains(&call.title)) {
        parts.insert(0, call.title.clone());
    }
    parts.extend(call.outcome.as_ref().map(told));
    parts
}

/// The texts in a JSON value, in order.
fn values(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => into.push(text.clone()),
        Value::Array(list) => list.iter().for_each(|value| values(value, into)),
        Value::Object(map) => map.values().for_each(|value| values(value, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What came of a call; of a command what it printed, without the lines on how it ended.
fn told(outcome: &Outcome) -> String {
    let ran = outcome.exit_code.is_some() || !outcome.job_id.is_empty();
    match outcome.text.split_once(OUTPUT) {
        Some((_, output)) if ran => output.to_owned(),
        _ => outcome.text.clone(),
    }
}

fn of_files(change: &FileChangeItem) -> Vec<String> {
    let names = change.files.iter();
    let names = names.flat_map(|file| [file.path.clone(), file.moved_from.clone()]);
    names.collect()
}

fn of_plan(plan: &PlanItem) -> Vec<String> {
    let steps = plan.steps.iter().map(|step| step.text.clone());
    [plan.explanation.clone()]
        .into_iter()
        .chain(steps)
        .collect()
}

#[cfg(test)]
mod tests {
    use quire_proto::v1::{
        FileChange, HistoryRewound, ItemCompleted, ItemStarted, MessageItem, NoticeItem,
        PromptItem, PromptQueued, ReasoningItem, SessionChanged, SessionCreated,
    };

    use super::*;

    fn of(body: Body) -> Option<Change> {
        change(&Event {
            seq: 1,
            body: Some(body),
            ..Event::default()
        })
    }

    fn completed(kind: Kind) -> Body {
        let item = Item {
            id: 7,
            status: ItemStatus::Completed.into(),
            kind: Some(kind),
            ..Item::default()
        };
        Body::ItemCompleted(ItemCompleted { item: Some(item) })
    }

    fn call(arguments: &str, title: &str, outcome: Option<(&str, Option<i32>)>) -> Kind {
        let outcome = outcome.map(|(text, exit_code)| Outcome {
            text: text.to_owned(),
            exit_code,
            ..Outcome::default()
        });
        Kind::ToolCall(ToolCallItem {
            arguments: arguments.to_owned(),
            title: title.to_owned(),
            outcome,
            ..ToolCallItem::default()
        })
    }

    #[test]
    fn what_people_read_is_found() {
        let prompt = |text: &str| {
            Kind::Prompt(PromptItem {
                text: text.to_owned(),
                ..PromptItem::default()
            })
        };
        let table = [
            (prompt("do it"), "do it"),
            (
                Kind::Reasoning(ReasoningItem {
                    text: "hmm".into(),
                    ..ReasoningItem::default()
                }),
                "hmm",
            ),
            (
                call(
                    r#"{"command":"cargo test","n":3}"#,
                    "cargo test",
                    Some((
                        "Exit code: 1\nOutput:\n\u{1b}[1;31mno such\u{1b}[0m file",
                        Some(1),
                    )),
                ),
                "cargo test\nno such file",
            ),
            (
                call(
                    "*** Begin Patch",
                    "edit a.rs",
                    Some(("Output:\nis here", None)),
                ),
                "edit a.rs\n*** Begin Patch\nOutput:\nis here",
            ),
            (
                Kind::FileChange(FileChangeItem {
                    files: vec![FileChange {
                        path: "new.rs".into(),
                        moved_from: "old.rs".into(),
                        diff: "+secret".into(),
                        ..FileChange::default()
                    }],
                    call: 1,
                }),
                "new.rs\nold.rs",
            ),
            (
                Kind::Notice(NoticeItem {
                    text: "mind".into(),
                    ..NoticeItem::default()
                }),
                "mind",
            ),
        ];
        for (kind, want) in table {
            let want = Change::Item {
                id: 7,
                text: want.to_owned(),
            };
            assert_eq!(of(completed(kind)), Some(want));
        }
        assert_eq!(of(completed(prompt(" "))), None);
    }

    #[test]
    fn titles_and_what_was_taken_back_are_told_and_the_rest_is_nothing() {
        let title = |title: &str| SessionCreated {
            title: title.to_owned(),
            ..SessionCreated::default()
        };
        assert_eq!(of(Body::SessionCreated(title(""))), None);
        assert_eq!(
            of(Body::SessionCreated(title("named"))),
            Some(Change::Title("named".into()))
        );
        let changed = |title: Option<&str>| {
            Body::SessionChanged(SessionChanged {
                title: title.map(str::to_owned),
                ..SessionChanged::default()
            })
        };
        assert_eq!(of(changed(None)), None);
        assert_eq!(of(changed(Some(""))), Some(Change::Title(String::new())));
        let rewound = Body::HistoryRewound(HistoryRewound {
            through_item: 3,
            ..HistoryRewound::default()
        });
        assert_eq!(of(rewound), Some(Change::Rewound(3)));
        assert_eq!(of(Body::PromptQueued(PromptQueued::default())), None);
        let growing = Item {
            id: 1,
            status: ItemStatus::Growing.into(),
            kind: Some(Kind::Message(MessageItem {
                text: "beg".into(),
                ..MessageItem::default()
            })),
            ..Item::default()
        };
        let started = Body::ItemStarted(ItemStarted {
            item: Some(growing),
        });
        assert_eq!(of(started), None);
    }

    #[test]
    fn a_long_text_is_found_by_its_beginning() {
        let long = call(&"é".repeat(LONGEST), "t", None);
        let Some(Change::Item { text, .. }) = of(completed(long)) else {
            panic!("it has text");
        };
        assert!(text.len() <= LONGEST && text.len() > LONGEST - 4);
    }
}
