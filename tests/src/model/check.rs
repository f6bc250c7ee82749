//! What both wire formats have in common when a request is looked at: the conversation so far, the
//! tools on offer, and the rules that it may break.

use std::collections::{BTreeMap, BTreeSet};

use quire_proto::id::JobId;
use serde_json::{Map, Value};

use super::script::{Part, Reply};

/// A conversation, reduced to what decides which reply is due.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Calls that have their outcome.
    pub(super) answered: BTreeSet<String>,
    /// Texts of the assistant, oldest first.
    pub(super) said: Vec<String>,
    /// The newest job that an outcome names.
    pub(super) job: Option<JobId>,
}

impl Seen {
    fn has_answered(&self, prefix: &str) -> bool {
        let from = self.answered.range(prefix.to_owned()..);
        from.take(1).any(|id| id.starts_with(prefix))
    }

    /// A call has its outcome.
    pub(super) fn outcome(&mut self, call: String, text: &str) {
        let mut words = text.split(|letter: char| !letter.is_ascii_alphanumeric());
        self.job = words.find_map(|word| word.parse().ok()).or(self.job.take());
        self.answered.insert(call);
    }
}

/// The tools a request offers.
#[derive(Debug, Default)]
pub(super) struct Tools(pub(super) BTreeMap<String, Offered>);

/// How one tool is offered.
#[derive(Debug)]
pub(super) enum Offered {
    /// With this JSON schema of its arguments.
    Function(Value),
    /// Freeform.
    Custom,
}

/// A call made concrete for the tools on offer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Concrete {
    pub(super) tool: String,
    pub(super) arguments: String,
    pub(super) freeform: bool,
}

/// Which reply is due, and how often it has been asked for, this time included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) step: usize,
    pub(super) asked: usize,
}

/// Breaches found in one request.
#[derive(Debug, Default)]
pub(super) struct Breaches(pub(super) Vec<String>);

impl Breaches {
    /// Notes a breach unless the rule `holds`.
    pub(super) fn rule(&mut self, holds: bool, breach: impl FnOnce() -> String) {
        if !holds {
            self.0.push(breach());
        }
    }

    /// The keys of an object must be among these.
    pub(super) fn only_keys(&mut self, at: &str, object: &Map<String, Value>, known: &[&str]) {
        for key in object.keys() {
            let known = known.contains(&key.as_str());
            self.rule(known, || format!("{at}: unknown parameter `{key}`"));
        }
    }

    /// A text that must be there and not be empty; empty when it is not.
    pub(super) fn text<'v>(&mut self, at: &str, object: &'v Value, key: &str) -> &'v str {
        let text = object[key].as_str().unwrap_or_default();
        self.rule(!text.is_empty(), || {
            format!(
                "{at}: `{key}` must be a text that is not empty, not {}",
                object[key]
            )
        });
        text
    }

    /// The name of a tool: ASCII letters, digits, `_` and `-`, at most 64.
    pub(super) fn tool_name(&mut self, at: &str, name: &str) {
        let fits = (1..=64).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        self.rule(fits, || format!("{at}: `{name}` is no name for a tool"));
    }

    /// A tool's parameters: an object's schema, complete where it claims to be strict.
    pub(super) fn schema(&mut self, at: &str, schema: &Value, strict: bool) {
        self.rule(schema["type"] == "object", || {
            format!("{at}: parameters must be of type object, not {schema}")
        });
        if strict {
            let closed = schema["additionalProperties"] == Value::Bool(false);
            self.rule(closed, || {
                format!("{at}: a strict schema needs `additionalProperties: false`")
            });
            let required: Vec<_> = schema["required"]
                .as_array()
                .into_iter()
                .flatten()
                .collect();
            let properties = schema["properties"].as_object();
            for name in properties.into_iter().flat_map(Map::keys) {
                self.rule(required.iter().any(|one| *one == name), || {
                    format!("{at}: strict, but `{name}` is not required")
                });
            }
        }
    }

    /// Arguments of a call sent back: a JSON object in a text.
    pub(super) fn arguments(&mut self, at: &str, arguments: &Value) {
        let parsed: Option<Map<String, Value>> = arguments
            .as_str()
            .and_then(|text| serde_json::from_str(text).ok());
        self.rule(parsed.is_some(), || {
            format!("{at}: arguments must be a JSON object in a text, not {arguments}")
        });
    }
}

/// The index of the reply that is due: the first that does not wholly appear in the conversation.
pub(super) fn next_step(replies: &[Reply], seen: &Seen) -> usize {
    let mut said = seen.said.as_slice();
    let appears = |(step, reply): (usize, &Reply)| {
        let calls = reply.calls();
        if calls > 0 {
            return (0..calls).all(|nth| seen.has_answered(&call_prefix(step, nth)));
        }
        let text = reply.text();
        let found = said.iter().position(|one| *one == text);
        if let Some(at) = found {
            said = said.get(at + 1..).unwrap_or_default();
        }
        found.is_some()
    };
    let past = replies.iter().enumerate().map(appears);
    past.take_while(|appears| *appears).count()
}

/// The id of a reply's n-th call, when that reply is asked for the `asked`th time: as with real
/// providers, no two answers share one.
pub(super) fn call_id(step: usize, nth: usize, asked: usize) -> String {
    format!("{}{asked}", call_prefix(step, nth))
}

/// What the ids of a reply's n-th call begin with, however often it was asked for.
pub(super) fn call_prefix(step: usize, nth: usize) -> String {
    format!("call_s{step}_{nth}_")
}

/// The text of a message's content, be it one text or a list of parts.
pub(super) fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts = parts.iter().filter_map(|part| part["text"].as_str());
            texts.collect()
        }
        _ => String::new(),
    }
}

impl Tools {
    /// The call that `part` stands for, `None` when it is no call.
    pub(super) fn concrete(&self, part: &Part) -> Option<Concrete> {
        match part {
            Part::Say(_) | Part::Hold(_) => None,
            Part::Shell(command, more) => {
                let (tool, property) = self.find(SHELLS, &["cmd", "command"]);
                let mut arguments = more.as_object().cloned().unwrap_or_default();
                arguments.insert(property.to_owned(), command.as_str().into());
                Some(function(tool, &Value::Object(arguments)))
            }
            Part::Read(path) => {
                let (tool, property) = self.find(&["read_file"], &["path", "file_path"]);
                Some(function(tool, &serde_json::json!({ property: path })))
            }
            Part::Patch(patch) if matches!(self.0.get("apply_patch"), Some(Offered::Custom)) => {
                Some(Concrete {
                    tool: "apply_patch".to_owned(),
                    arguments: patch.clone(),
                    freeform: true,
                })
            }
            Part::Patch(patch) => {
                let (tool, property) = self.find(&["apply_patch"], &["input", "patch"]);
                Some(function(tool, &serde_json::json!({ property: patch })))
            }
            Part::Call(tool, arguments) => Some(function(tool, arguments)),
        }
    }

    /// The first of these tools on offer, with the first of these properties that it takes.
    fn find<'n>(&self, tools: &[&'n str], properties: &[&'n str]) -> (&'n str, &'n str) {
        let offered = tools.iter().find_map(|name| match self.0.get(*name)? {
            Offered::Function(schema) => Some((*name, schema)),
            Offered::Custom => None,
        });
        let (tool, schema) = offered.unwrap_or((tools[0], &Value::Null));
        let takes = |property: &&&str| schema["properties"].get(**property).is_some();
        let property = properties.iter().find(takes).unwrap_or(&properties[0]);
        (tool, property)
    }
}

const SHELLS: &[&str] = &["exec_command", "shell", "bash"];

fn function(tool: &str, arguments: &Value) -> Concrete {
    Concrete {
        tool: tool.to_owned(),
        arguments: arguments.to_string(),
        freeform: false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_reply_due_is_the_first_that_the_conversation_lacks() {
        let replies = [
            Reply::shell("a").and_shell("b"),
            Reply::say("first"),
            Reply::shell("c"),
            Reply::say("last"),
        ];
        let table: [(&[&str], &[&str], usize); 6] = [
            (&[], &[], 0),
            (&["call_s0_0_1"], &[], 0),
            (&["call_s0_0_1", "call_s0_1_1"], &[], 1),
            (&["call_s0_0_1", "call_s0_1_1"], &["first"], 2),
            (
                &["call_s0_0_1", "call_s0_1_1", "call_s2_0_1"],
                &["first"],
                3,
            ),
            (
                &["call_s0_0_1", "call_s0_1_1", "call_s2_0_1"],
                &["first", "last"],
                4,
            ),
        ];
        for (answered, said, want) in table {
            let seen = Seen {
                answered: answered.iter().map(|id| (*id).to_owned()).collect(),
                said: said.iter().map(|text| (*text).to_owned()).collect(),
                job: None,
            };
            assert_eq!(next_step(&replies, &seen), want, "for {seen:?}");
        }
    }

    #[test]
    fn the_newest_job_is_known_by_its_name() {
        let job = JobId::random();
        let mut seen = Seen::default();
        seen.outcome("a".into(), &format!("still runs as job `{job}`, see there"));
        seen.outcome("b".into(), "nothing here names one");
        assert_eq!(seen.job, Some(job));
    }

    #[test]
    fn calls_take_the_shape_of_the_tools_on_offer() {
        let schema = json!({"type": "object", "properties": {"command": {"type": "string"}}});
        let tools = Tools(BTreeMap::from([
            ("shell".to_owned(), Offered::Function(schema)),
            ("apply_patch".to_owned(), Offered::Custom),
        ]));
        let shell = tools.concrete(&Part::Shell("ls".into(), json!({"timeout_ms": 5})));
        let want = Concrete {
            tool: "shell".into(),
            arguments: r#"{"command":"ls","timeout_ms":5}"#.into(),
            freeform: false,
        };
        assert_eq!(shell, Some(want));
        let patch = tools.concrete(&Part::Patch("*** Begin Patch".into()));
        assert!(patch.is_some_and(|call| call.freeform));
    }
}
