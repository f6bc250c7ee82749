//! Tool calls in pieces.
//!
//! By the book a piece names its call by `index`, and only the first has the id and the name. Servers
//! also leave out the index, the id or both, repeat id and name in each piece, use one index for
//! several calls, and send a call twice.

use std::collections::BTreeMap;

use quire_proto::v1::ArgumentsKind;
use serde::{Deserialize, de::IgnoredAny};

use crate::pure::{
    codec::{Text, text},
    sample::{Call, SampleError, SampleErrorKind},
};

/// Most calls in one answer. No model comes near it.
const MAX_CALLS: usize = 1_000;

#[derive(Debug, Deserialize)]
pub(super) struct Piece<'a> {
    index: Option<u64>,
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    function: Option<Function<'a>>,
}

#[derive(Debug, Deserialize)]
struct Function<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    arguments: Option<Text<'a>>,
}

/// The calls of one answer, in the order they began.
#[derive(Debug, Default)]
pub(super) struct Calls {
    slots: Vec<Slot>,
    /// The newest call of each index.
    by_index: BTreeMap<u64, usize>,
}

#[derive(Debug, Default)]
struct Slot {
    id: String,
    tool: String,
    arguments: String,
}

impl Calls {
    /// Takes a piece. The name of a tool is given back when a call of it begins.
    pub(super) fn piece<'a>(
        &mut self,
        piece: &'a Piece<'_>,
    ) -> Result<Option<&'a str>, SampleError> {
        let id = text(piece.id.as_ref());
        let function = piece.function.as_ref();
        let name = function.map_or("", |function| text(function.name.as_ref()));
        let arguments = function.map_or("", |function| text(function.arguments.as_ref()));
        let at = match self.slot(piece.index, id, name) {
            Some(at) => at,
            None => self.begin(piece.index)?,
        };
        let slot = &mut self.slots[at];
        let named = slot.tool.is_empty() && !name.is_empty();
        if slot.id.is_empty() {
            slot.id.push_str(id);
        }
        if named {
            slot.tool.push_str(name);
        }
        if !slot.is_repeat(arguments) {
            slot.arguments.push_str(arguments);
        }
        Ok(named.then_some(name))
    }

    /// The calls, ids and arguments repaired. `answer` names the answer, for ids that are missing;
    /// where the answer was `cut` by its limit, calls whose arguments break off are left out.
    pub(super) fn take(&mut self, answer: &str, cut: bool) -> Vec<Call> {
        self.by_index.clear();
        let mut calls: Vec<Call> = Vec::new();
        for (at, slot) in std::mem::take(&mut self.slots).into_iter().enumerate() {
            let nothing = slot.tool.is_empty() && slot.arguments.is_empty();
            if nothing || (cut && !is_whole(&slot.arguments)) {
                continue;
            }
            let call = slot.call(at, answer);
            match calls.iter().find(|earlier| earlier.call_id == call.call_id) {
                Some(earlier) if *earlier == call => {}
                Some(_) => calls.push(Call {
                    call_id: made_up(answer, at),
                    ..call
                }),
                None => calls.push(call),
            }
        }
        calls
    }

    /// The call that a piece continues.
    fn slot(&self, index: Option<u64>, id: &str, name: &str) -> Option<usize> {
        let same_id = |slot: &Slot| slot.id.is_empty() || id.is_empty() || slot.id == id;
        match index {
            Some(index) => {
                let at = *self.by_index.get(&index)?;
                same_id(&self.slots[at]).then_some(at)
            }
            None if !id.is_empty() => self.slots.iter().rposition(|slot| slot.id == id),
            // Without index and id, only a name tells that another call begins.
            None if !name.is_empty() => None,
            None => self.slots.len().checked_sub(1),
        }
    }

    fn begin(&mut self, index: Option<u64>) -> Result<usize, SampleError> {
        let at = self.slots.len();
        if at >= MAX_CALLS {
            return Err(SampleError::new(
                SampleErrorKind::TooLarge,
                "sent an answer of more than 1,000 calls",
            ));
        }
        self.slots.push(Slot::default());
        if let Some(index) = index {
            self.by_index.insert(index, at);
        }
        Ok(at)
    }
}

impl Slot {
    /// Whether a piece says again what is already whole.
    fn is_repeat(&self, arguments: &str) -> bool {
        arguments.len() > 2 && self.arguments == arguments && is_whole(arguments)
    }

    fn call(self, at: usize, answer: &str) -> Call {
        Call {
            call_id: if self.id.is_empty() {
                made_up(answer, at)
            } else {
                self.id
            },
            tool: self.tool,
            arguments: if self.arguments.trim().is_empty() {
                "{}".to_owned()
            } else {
                self.arguments
            },
            kind: ArgumentsKind::Json,
            opaque: Vec::new(),
        }
    }
}

/// An id for a call that has none: at most 40 characters, the most that providers take back.
fn made_up(answer: &str, at: usize) -> String {
    let letters: Vec<char> = answer.chars().filter(char::is_ascii_alphanumeric).collect();
    let tail: String = letters[letters.len().saturating_sub(24)..].iter().collect();
    format!("call_{tail}_{at}")
}

fn is_whole(arguments: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(arguments).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds pieces; answers the calls as "id tool arguments" and the tools announced.
    fn calls(pieces: &[&str], cut: bool) -> (Vec<String>, Vec<String>) {
        let mut calls = Calls::default();
        let mut begun = Vec::new();
        for piece in pieces {
            let piece: Piece<'_> = serde_json::from_str(piece).unwrap();
            let tool = calls.piece(&piece).unwrap();
            begun.extend(tool.map(ToOwned::to_owned));
        }
        let calls = calls.take("chatcmpl-x1", cut);
        let line = |call: &Call| format!("{} {} {}", call.call_id, call.tool, call.arguments);
        (calls.iter().map(line).collect(), begun)
    }

    #[test]
    fn pieces_are_put_together_however_they_are_named() {
        let table: &[(&str, &[&str], &[&str])] = &[
            (
                "by the book, two calls interleaved",
                &[
                    r#"{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}"#,
                    r#"{"index":1,"id":"b","function":{"name":"g","arguments":"{"}}"#,
                    r#"{"index":0,"function":{"arguments":"{\"x\":1}"}}"#,
                    r#"{"index":1,"function":{"arguments":"}"}}"#,
                ],
                &[r#"a f {"x":1}"#, "b g {}"],
            ),
            (
                "id and name in every piece",
                &[
                    r#"{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\""}}"#,
                    r#"{"index":0,"id":"a","function":{"name":"f","arguments":":1}"}}"#,
                ],
                &[r#"a f {"x":1}"#],
            ),
            (
                "whole calls, all of index 0",
                &[
                    r#"{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}"#,
                    r#"{"index":0,"id":"b","function":{"name":"f","arguments":"{}"}}"#,
                ],
                &["a f {}", "b f {}"],
            ),
            (
                "no index",
                &[
                    r#"{"id":"a","function":{"name":"f","arguments":"{\"x\":"}}"#,
                    r#"{"id":"a","function":{"arguments":"1}"}}"#,
                    r#"{"id":"b","function":{"name":"g"}}"#,
                ],
                &[r#"a f {"x":1}"#, "b g {}"],
            ),
            (
                "neither index nor id",
                &[
                    r#"{"function":{"name":"f","arguments":"{\"x\":"}}"#,
                    r#"{"function":{"arguments":"1}"}}"#,
                    r#"{"function":{"name":"f","arguments":"{\"x\":1}"}}"#,
                ],
                &[
                    r#"call_chatcmplx1_0 f {"x":1}"#,
                    r#"call_chatcmplx1_1 f {"x":1}"#,
                ],
            ),
            (
                "a whole call twice",
                &[
                    r#"{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":1}"}}"#,
                    r#"{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":1}"}}"#,
                    r#"{"index":1,"id":"a","function":{"name":"f","arguments":"{\"x\":1}"}}"#,
                ],
                &[r#"a f {"x":1}"#],
            ),
            (
                "one id for two calls",
                &[
                    r#"{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":1}"}}"#,
                    r#"{"index":1,"id":"a","function":{"name":"f","arguments":"{\"x\":2}"}}"#,
                ],
                &[r#"a f {"x":1}"#, r#"call_chatcmplx1_1 f {"x":2}"#],
            ),
            (
                "nothing but an index",
                &[r#"{"index":0,"id":null,"function":null}"#],
                &[],
            ),
        ];
        for (name, pieces, want) in table {
            let (got, begun) = calls(pieces, false);
            assert_eq!(got, *want, "{name}");
            assert!(begun.len() >= want.len(), "{name}: each call is announced");
        }
    }

    #[test]
    fn calls_cut_by_the_limit_are_left_out() {
        let pieces = [
            r#"{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":1}"}}"#,
            r#"{"index":1,"id":"b","function":{"name":"f","arguments":"{\"x\":"}}"#,
        ];
        assert_eq!(calls(&pieces, true).0, [r#"a f {"x":1}"#]);
        assert_eq!(calls(&pieces, false).0.len(), 2);
    }

    #[test]
    fn too_many_calls_are_refused() {
        let mut calls = Calls::default();
        let mut refused = None;
        for index in 0..=MAX_CALLS {
            let piece = format!(r#"{{"index":{index},"function":{{"name":"f"}}}}"#);
            let piece: Piece<'_> = serde_json::from_str(&piece).unwrap();
            refused = calls.piece(&piece).err();
        }
        assert_eq!(refused.unwrap().kind, SampleErrorKind::TooLarge);
    }
}
