//! From a request to the step that answers it, and from a step to deltas.

use quire_proto::v1::{ArgumentsKind, Usage};

use super::{Beat, Failure, Performance, Script, ScriptedCall, Step, Written};
use crate::pure::{
    codec::join,
    sample::{Call, Delta, Input, Request, SampleError, SampleErrorKind, Stop},
};

impl Script {
    /// The number of the step that answers `request`, from 0.
    #[must_use]
    pub fn step_for(&self, request: &Request) -> usize {
        let last = self.steps.len() - 1;
        let mut at = 0;
        let mut outcomes = 0;
        for input in &request.input {
            let calls = self.steps[at].calls.len();
            match input {
                Input::Outcome { .. } if calls > 0 => outcomes += 1,
                Input::Assistant { .. } if calls == 0 => at += 1,
                _ => {}
            }
            if calls > 0 && outcomes == calls {
                at += 1;
                outcomes = 0;
            }
            at = at.min(last);
        }
        at
    }

    /// Answers `request`, for which the step has already failed `failed` times.
    #[must_use]
    pub fn play(&self, request: &Request, failed: u32) -> Performance {
        let at = self.step_for(request);
        let step = &self.steps[at];
        match step.failure(failed) {
            None => Performance {
                beats: step.answer(at, request),
                failure: None,
            },
            Some(failure) => Performance {
                beats: match failure {
                    Failure::Reset => step.half(),
                    _ => Vec::new(),
                },
                failure: Some(failure.error()),
            },
        }
    }
}

impl Step {
    fn failure(&self, failed: u32) -> Option<Failure> {
        let mut before = 0_u32;
        for &(failure, times) in &self.failures {
            before = before.saturating_add(times);
            if failed < before {
                return Some(failure);
            }
        }
        None
    }

    fn answer(&self, at: usize, request: &Request) -> Vec<Beat> {
        let mut end: Vec<Delta> = Vec::new();
        if !self.say.is_empty() {
            end.push(Delta::MessageDone);
        }
        for (number, call) in self.calls.iter().enumerate() {
            let tool = call.tool.clone();
            end.push(Delta::CallStarted { tool });
            end.push(Delta::Call(call.call(at, number)));
        }
        end.push(Delta::Ended {
            stop: Stop::Done,
            usage: self.usage(request),
        });
        let mut beats = self.paced(self.spoken());
        match beats.last_mut() {
            Some(last) => last.deltas.append(&mut end),
            None => beats.push(Beat {
                wait: self.delay,
                deltas: end,
            }),
        }
        beats
    }

    /// The first half of what is said.
    fn half(&self) -> Vec<Beat> {
        let mut deltas = self.spoken();
        deltas.truncate(deltas.len().div_ceil(2));
        self.paced(deltas)
    }

    /// Reasoning and words, token by token.
    fn spoken(&self) -> Vec<Delta> {
        let thought = tokens(&self.reasoning).map(|token| Delta::Reasoning(token.to_owned()));
        let opaque = Vec::new();
        let pondered = (!self.reasoning.is_empty()).then_some(Delta::ReasoningDone { opaque });
        let words = tokens(&self.say).map(|token| Delta::Text(token.to_owned()));
        thought.chain(pondered).chain(words).collect()
    }

    /// One delta after the other, or all together where there is no pause.
    fn paced(&self, deltas: Vec<Delta>) -> Vec<Beat> {
        let mut beats: Vec<Beat> = Vec::new();
        let mut wait = self.delay;
        for delta in deltas {
            match beats.last_mut() {
                Some(last) if self.pause.is_zero() => join(&mut last.deltas, delta),
                _ => beats.push(Beat {
                    wait: std::mem::replace(&mut wait, self.pause),
                    deltas: vec![delta],
                }),
            }
        }
        beats
    }

    /// Figures of a plausible size: a script has no tokenizer.
    fn usage(&self, request: &Request) -> Usage {
        let said = tokens(&self.say).count() + tokens(&self.reasoning).count();
        let input = request.instructions.len() + request.input.iter().map(size).sum::<usize>();
        Usage {
            input_tokens: (input / 4) as u64,
            output_tokens: (said + 20 * self.calls.len()) as u64,
            reasoning_tokens: tokens(&self.reasoning).count() as u64,
            ..Usage::default()
        }
    }
}

impl ScriptedCall {
    /// As the model writes it; the id is the same whenever the step is played.
    fn call(&self, step: usize, number: usize) -> Call {
        let (arguments, kind) = match &self.written {
            Written::Json(value) => (value.to_string(), ArgumentsKind::Json),
            Written::Freeform(text) => (text.clone(), ArgumentsKind::Freeform),
        };
        Call {
            call_id: format!("script_{}_{}", step + 1, number + 1),
            tool: self.tool.clone(),
            arguments,
            kind,
            opaque: Vec::new(),
        }
    }
}

impl Failure {
    fn error(self) -> SampleError {
        let (kind, message) = match self {
            Self::RateLimited { .. } => (SampleErrorKind::RateLimited, "answered with status 429"),
            Self::ServerError => (SampleErrorKind::Unreachable, "answered with status 500"),
            Self::Reset => (SampleErrorKind::Cut, "ended its answer before it was whole"),
            Self::Garbage => (SampleErrorKind::Garbage, "sent an event that is not JSON"),
            Self::Credentials => (SampleErrorKind::Credentials, "answered with status 401"),
        };
        SampleError {
            kind,
            message: message.to_owned(),
            retry_after: match self {
                Self::RateLimited { retry_after } => retry_after,
                _ => None,
            },
        }
    }
}

/// A text as words, each with the blanks before it; blanks at the end belong to the last.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let word = rest.find(|c: char| !c.is_whitespace())?;
        let blank = rest[word..].find(char::is_whitespace);
        let end = blank.map_or(rest.len(), |blank| word + blank);
        let end = if rest[end..].trim_start().is_empty() {
            rest.len()
        } else {
            end
        };
        let (token, behind) = rest.split_at(end);
        rest = behind;
        Some(token)
    })
}

fn size(input: &Input) -> usize {
    match input {
        Input::User { text, .. } | Input::Assistant { text } | Input::Outcome { text, .. } => {
            text.len()
        }
        Input::Reasoning { opaque, text } => opaque.len() + text.len(),
        Input::Call(call) => call.arguments.len(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const DEMO: &str = r#"
        [[step]]
        say = "I look."
        [[step.call]]
        tool = "read_file"
        arguments = { path = "a" }
        [[step.call]]
        tool = "apply_patch"
        input = "*** Begin Patch"

        [[step]]
        say = "Done."

        [[step]]
        fail = "429"
        times = 2
        retry_after_ms = 50

        [[step]]
        fail = "reset"
        reasoning = "Hm."
        say = "one two three"
    "#;

    fn script(text: &str) -> Script {
        Script::parse(text).unwrap()
    }

    fn deltas(performance: Performance) -> Vec<Delta> {
        let beats = performance.beats.into_iter();
        beats.flat_map(|beat| beat.deltas).collect()
    }

    /// Adds what the step answers to the conversation, as the session does.
    fn record(request: &mut Request, deltas: Vec<Delta>) {
        let mut outcomes = Vec::new();
        let mut text = String::new();
        for delta in deltas {
            match delta {
                Delta::Text(piece) => text.push_str(&piece),
                Delta::MessageDone => request.input.push(Input::Assistant {
                    text: std::mem::take(&mut text),
                }),
                Delta::Call(call) => {
                    outcomes.push(Input::Outcome {
                        call_id: call.call_id.clone(),
                        kind: call.kind,
                        text: "ok".to_owned(),
                    });
                    request.input.push(Input::Call(call));
                }
                _ => {}
            }
        }
        request.input.append(&mut outcomes);
    }

    fn prompt(request: &mut Request) {
        request.input.push(Input::User {
            text: "go".to_owned(),
            images: vec![],
        });
    }

    #[test]
    fn steps_follow_the_conversation() {
        let script = script(DEMO);
        let mut request = Request::default();
        prompt(&mut request);
        let first = deltas(script.play(&request, 0));
        let want = [
            Delta::Text("I look.".to_owned()),
            Delta::MessageDone,
            Delta::CallStarted {
                tool: "read_file".to_owned(),
            },
            Delta::Call(Call {
                call_id: "script_1_1".to_owned(),
                tool: "read_file".to_owned(),
                arguments: "{\"path\":\"a\"}".to_owned(),
                kind: ArgumentsKind::Json,
                opaque: vec![],
            }),
            Delta::CallStarted {
                tool: "apply_patch".to_owned(),
            },
            Delta::Call(Call {
                call_id: "script_1_2".to_owned(),
                tool: "apply_patch".to_owned(),
                arguments: "*** Begin Patch".to_owned(),
                kind: ArgumentsKind::Freeform,
                opaque: vec![],
            }),
        ];
        assert_eq!(first[..6], want);
        assert!(matches!(
            first[6],
            Delta::Ended {
                stop: Stop::Done,
                ..
            }
        ));
        record(&mut request, first);
        assert_eq!(script.step_for(&request), 1);
        let answered = request.clone();
        request.input.pop();
        assert_eq!(script.step_for(&request), 0, "one outcome is still awaited");
        request = answered;
        let second = deltas(script.play(&request, 0));
        record(&mut request, second);
        prompt(&mut request);
        assert_eq!(script.step_for(&request), 2, "a second prompt goes on");
        let third = deltas(script.play(&request, 3));
        record(&mut request, third);
        for _ in 0..2 {
            prompt(&mut request);
            assert_eq!(script.step_for(&request), 3);
            let ended = deltas(script.play(&request, 0));
            assert!(matches!(&ended[0], Delta::Text(text) if text.contains("has ended")));
            record(&mut request, ended);
        }
    }

    #[test]
    fn failures_come_before_their_step() {
        let mut request = Request::default();
        let script = script(DEMO);
        for _ in 0..2 {
            let answer = deltas(script.play(&request, 0));
            record(&mut request, answer);
        }
        let kinds = [0, 1, 2, 3].map(|failed| {
            let performance = script.play(&request, failed);
            let texts = deltas(performance.clone());
            (performance.failure.map(|error| error.kind), texts.len())
        });
        let want = [
            (Some(SampleErrorKind::RateLimited), 0),
            (Some(SampleErrorKind::RateLimited), 0),
            (Some(SampleErrorKind::Cut), 3),
            (None, 5),
        ];
        assert_eq!(kinds, want);
        let limited = script.play(&request, 0).failure.unwrap();
        assert_eq!(limited.retry_after, Some(Duration::from_millis(50)));
    }

    #[test]
    fn text_streams_at_the_pace_asked_for() {
        let script = script(
            "tokens_per_second = 10\n[[step]]\ndelay_ms = 500\nreasoning = \"Hm\"\nsay = \" a  b \"",
        );
        let performance = script.play(&Request::default(), 0);
        let beats: Vec<_> = performance
            .beats
            .iter()
            .map(|beat| (beat.wait.as_millis(), beat.deltas[0].clone()))
            .collect();
        let text = |text: &str| Delta::Text(text.to_owned());
        let want = [
            (500, Delta::Reasoning("Hm".to_owned())),
            (100, Delta::ReasoningDone { opaque: vec![] }),
            (100, text(" a")),
            (100, text("  b ")),
        ];
        assert_eq!(beats, want);
    }

    proptest! {
        #[test]
        fn tokens_are_the_text(text in "[a-c \n\u{e9}]{0,30}") {
            let joined: String = tokens(&text).collect();
            prop_assert!(joined == text || text.trim().is_empty());
        }
    }
}
