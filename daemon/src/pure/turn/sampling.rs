//! The model's answer: text grows into items, calls are collected, and the end decides what is next.

use quire_proto::{
    id::ItemId,
    v1::{
        ActivityKind, Item, ItemStarted, ItemStatus, MessageItem, Outcome, OutcomeStatus,
        ReasoningItem, SampleEnded, SampleRetried, StopReason, ToolCallItem, TurnSuspended, Usage,
        event::Body, item::Kind,
    },
};

use super::{Effect, Phase, Turn, steers};
use crate::pure::{
    retry,
    sample::{Call, Delta, SampleError, SampleErrorKind, Stop},
    transcript::Transcript,
};

/// Answers without any content that are taken for an end.
const MAX_EMPTY_ANSWERS: u32 = 3;

/// What the model has written of its answer so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    /// The text item that grows. Its text here is all of it.
    open: Option<Item>,
    /// Whether the open item is whole. It is completed with what follows it, so that a last message
    /// and the end of its answer are one commit: a daemon that died between them would ask again.
    whole: bool,
    /// Calls made, as started items.
    calls: Vec<Item>,
    /// Whether anything came that people can see.
    content: bool,
}

impl Turn {
    pub(super) fn take_deltas(
        &mut self,
        transcript: &Transcript,
        deltas: Vec<Delta>,
        effects: &mut Vec<Effect>,
    ) {
        for delta in deltas {
            let Phase::Sampling(answer) = &mut self.phase else {
                return;
            };
            let mut answer = std::mem::take(answer);
            match delta {
                Delta::Ended { stop, usage } => {
                    return self.answer_ended(transcript, *answer, (stop, usage), effects);
                }
                Delta::Text(text) => self.grow(transcript, &mut answer, (text, false), effects),
                Delta::Reasoning(text) => self.grow(transcript, &mut answer, (text, true), effects),
                Delta::ReasoningDone { opaque } => {
                    self.reasoning_done(transcript, &mut answer, opaque, effects);
                }
                Delta::MessageDone => answer.whole = true,
                Delta::CallStarted { tool } => {
                    effects.push(Effect::Activity(
                        ActivityKind::Streaming,
                        format!("writing {tool}"),
                    ));
                }
                Delta::Call(call) => self.take_call(transcript, &mut answer, call, effects),
            }
            self.phase = Phase::Sampling(answer);
        }
    }

    fn grow(
        &mut self,
        transcript: &Transcript,
        answer: &mut Answer,
        (text, reasoning): (String, bool),
        effects: &mut Vec<Effect>,
    ) {
        if text.is_empty() {
            return;
        }
        let open = answer.open.as_ref();
        if answer.whole || open.is_none_or(|item| is_reasoning(item) != reasoning) {
            self.close_open(answer, ItemStatus::Completed, effects);
            answer.open = Some(self.start_text(transcript, reasoning, effects));
        }
        answer.content |= !reasoning;
        if let Some(item) = &mut answer.open
            && let Some(id) = ItemId::new(item.id)
        {
            push_text(item, &text);
            effects.push(Effect::Grow { item: id, text });
        }
    }

    fn start_text(
        &mut self,
        transcript: &Transcript,
        reasoning: bool,
        effects: &mut Vec<Effect>,
    ) -> Item {
        let model = transcript.model().to_owned();
        let kind = if reasoning {
            Kind::Reasoning(ReasoningItem {
                model,
                ..ReasoningItem::default()
            })
        } else {
            Kind::Message(MessageItem {
                model,
                text: String::new(),
            })
        };
        let item = self.new_item(ItemStatus::Growing, kind);
        let started = Body::ItemStarted(ItemStarted {
            item: Some(item.clone()),
        });
        effects.push(Effect::Activity(ActivityKind::Streaming, String::new()));
        effects.push(Effect::append(started));
        item
    }

    fn reasoning_done(
        &mut self,
        transcript: &Transcript,
        answer: &mut Answer,
        opaque: Vec<u8>,
        effects: &mut Vec<Effect>,
    ) {
        match answer.open.as_mut().and_then(|item| item.kind.as_mut()) {
            Some(Kind::Reasoning(reasoning)) => reasoning.opaque = opaque,
            _ if opaque.is_empty() => return,
            _ => {
                self.close_open(answer, ItemStatus::Completed, effects);
                let model = transcript.model().to_owned();
                let reasoning = ReasoningItem {
                    model,
                    opaque,
                    text: String::new(),
                };
                effects.push(self.complete_new(Kind::Reasoning(reasoning)));
            }
        }
        self.close_open(answer, ItemStatus::Completed, effects);
    }

    fn take_call(
        &mut self,
        transcript: &Transcript,
        answer: &mut Answer,
        call: Call,
        effects: &mut Vec<Effect>,
    ) {
        // Some servers send a call twice; it must run once.
        if answer
            .calls
            .iter()
            .any(|item| call_id(item) == call.call_id)
        {
            return;
        }
        self.close_open(answer, ItemStatus::Completed, effects);
        // A cut-off call is not told to the model, so its name is free again.
        let told = |item: &&Item| item.status() != ItemStatus::CutOff;
        let repeated = transcript
            .items()
            .filter(told)
            .any(|item| call_id(item) == call.call_id);
        let call_id = if repeated {
            format!("{}_{}", call.call_id, self.next_item)
        } else {
            call.call_id
        };
        let kind = Kind::ToolCall(ToolCallItem {
            call_id,
            tool: call.tool,
            arguments: call.arguments,
            arguments_kind: call.kind.into(),
            model: transcript.model().to_owned(),
            opaque: call.opaque,
            sample: self.samples + 1,
            ..ToolCallItem::default()
        });
        let item = self.new_item(ItemStatus::Growing, kind);
        let started = Body::ItemStarted(ItemStarted {
            item: Some(item.clone()),
        });
        effects.push(Effect::append(started));
        answer.content = true;
        answer.calls.push(item);
    }

    fn answer_ended(
        &mut self,
        transcript: &Transcript,
        mut answer: Answer,
        (stop, usage): (Stop, Usage),
        effects: &mut Vec<Effect>,
    ) {
        effects.push(Effect::StopSample);
        self.close_open(&mut answer, ItemStatus::Completed, effects);
        self.samples += 1;
        self.failed = 0;
        self.taken_over = false;
        let model = transcript.model().to_owned();
        let ended = SampleEnded {
            turn: self.id.get(),
            model,
            usage: Some(usage),
        };
        effects.push(Effect::append(Body::SampleEnded(ended)));
        if !answer.calls.is_empty() {
            return self.begin_acting(transcript, answer.calls, effects);
        }
        self.empty_answers = if answer.content {
            0
        } else {
            self.empty_answers + 1
        };
        let steered = steers(transcript).next().is_some();
        match stop {
            Stop::Refused => {
                let error = "the provider refused to answer".to_owned();
                self.end(StopReason::Refused, Some(("refused", error)), effects);
            }
            Stop::MaxTokens => {
                let error = "the model's answer reached its output limit".to_owned();
                self.end(StopReason::MaxTokens, Some(("limit", error)), effects);
            }
            Stop::Done if steered => self.go_on(transcript, effects),
            Stop::Done if answer.content => self.end(StopReason::Done, None, effects),
            Stop::Done if self.empty_answers < MAX_EMPTY_ANSWERS => self.go_on(transcript, effects),
            Stop::Done => {
                let error =
                    format!("the model answered nothing {MAX_EMPTY_ANSWERS} times in a row");
                self.end(StopReason::ModelError, Some(("garbage", error)), effects);
            }
        }
    }

    pub(super) fn sample_failed(
        &mut self,
        error: &SampleError,
        dice: u32,
        effects: &mut Vec<Effect>,
    ) {
        let Phase::Sampling(answer) = std::mem::replace(&mut self.phase, Phase::Backoff) else {
            return;
        };
        effects.push(Effect::StopSample);
        self.close(*answer, ItemStatus::CutOff, effects);
        if self.taken_over && error.kind == SampleErrorKind::Credentials {
            return self.suspend(&error.message, true, effects);
        }
        self.failed += 1;
        let elapsed = self.now.steady.saturating_sub(self.asked);
        let retry::Verdict::Wait(wait) = retry::decide(error, self.failed, elapsed, dice) else {
            let kind = error_kind(error.kind);
            return self.end(
                StopReason::ModelError,
                Some((kind, error.message.clone())),
                effects,
            );
        };
        let retried = SampleRetried {
            turn: self.id.get(),
            attempt: self.failed,
            error: error.message.clone(),
            wait_ms: i64::try_from(wait.as_millis()).unwrap_or(i64::MAX),
            daemon_ended: false,
        };
        effects.push(Effect::append(Body::SampleRetried(retried)));
        effects.push(Effect::Activity(
            ActivityKind::Retrying,
            error.message.clone(),
        ));
        effects.push(Effect::Later(wait));
    }

    /// Leaves the turn until someone sends it on: the next client when that may have what it wants in its
    /// world, else a person.
    pub(super) fn suspend(&mut self, reason: &str, wants_world: bool, effects: &mut Vec<Effect>) {
        self.phase = Phase::Suspended;
        let suspended = TurnSuspended {
            turn: self.id.get(),
            reason: reason.to_owned(),
            wants_world,
        };
        effects.push(Effect::append(Body::TurnSuspended(suspended)));
        effects.push(Effect::Activity(ActivityKind::Suspended, reason.to_owned()));
    }

    /// Closes an answer that will not be finished. Calls in it are not run.
    pub(super) fn close(
        &mut self,
        mut answer: Answer,
        status: ItemStatus,
        effects: &mut Vec<Effect>,
    ) {
        // Half a thought is of no use to the model, unlike half a message.
        let status = match &answer.open {
            Some(item) if is_reasoning(item) => ItemStatus::CutOff,
            _ => status,
        };
        self.close_open(&mut answer, status, effects);
        for item in answer.calls {
            effects.push(self.cut_call(item));
        }
    }

    /// A call of an answer that never became whole: it has an outcome, and the model is not told of
    /// it.
    pub(super) fn cut_call(&self, mut item: Item) -> Effect {
        if let Some(Kind::ToolCall(call)) = &mut item.kind {
            call.outcome = Some(Outcome {
                status: OutcomeStatus::Interrupted.into(),
                text: "not run: the answer that held the call was cut off".to_owned(),
                ..Outcome::default()
            });
        }
        self.settle(item, ItemStatus::CutOff)
    }

    fn close_open(&mut self, answer: &mut Answer, status: ItemStatus, effects: &mut Vec<Effect>) {
        answer.whole = false;
        if let Some(item) = answer.open.take() {
            effects.push(self.settle(item, status));
        }
    }
}

fn is_reasoning(item: &Item) -> bool {
    matches!(item.kind, Some(Kind::Reasoning(_)))
}

fn push_text(item: &mut Item, text: &str) {
    match &mut item.kind {
        Some(Kind::Message(message)) => message.text.push_str(text),
        Some(Kind::Reasoning(reasoning)) => reasoning.text.push_str(text),
        _ => {}
    }
}

fn call_id(item: &Item) -> &str {
    match &item.kind {
        Some(Kind::ToolCall(call)) => &call.call_id,
        _ => "",
    }
}

/// The word for `TurnEnded.error_kind`.
fn error_kind(kind: SampleErrorKind) -> &'static str {
    match kind {
        SampleErrorKind::Credentials => "credentials",
        SampleErrorKind::Configuration => "configuration",
        SampleErrorKind::BadRequest => "bad_request",
        SampleErrorKind::RateLimited => "rate_limited",
        SampleErrorKind::Unreachable => "unreachable",
        SampleErrorKind::Cut => "unreachable",
        SampleErrorKind::Garbage | SampleErrorKind::TooLarge => "garbage",
    }
}
