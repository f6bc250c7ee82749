//! One turn: from a prompt to the model's last word.
//!
//! [`Turn::step`] takes what happened and says what to do next. It performs no I/O, reads no clock
//! and never fails: the session actor carries out the [`Effect`]s and feeds the results back as
//! [`Input`]s. Every transition of the agent is in this folder: the model's answer in `sampling`,
//! tool calls in `acting`, going on after a crash in `resume`.
//!
//! Effects are carried out in order, and each `Append` is in the transcript before the next step.

mod acting;
mod io;
pub mod resume;
mod sampling;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use quire_proto::{
    id::{ApprovalId, ItemId, TurnId},
    v1::{
        Access, ActivityKind, ApprovalAnswer, ApprovalDecided, ClientRef, Item, ItemCompleted,
        ItemStatus, NoticeItem, NoticeLevel, PromptMode, QueuedPrompt, StopReason, TurnEnded,
        TurnStarted, event::Body, item,
    },
};

use super::transcript::Transcript;
pub use io::{Beginning, Effect, Ending, Entry, Input, Look, Now};
use sampling::Answer;

/// Most requests to the model in one turn, unless configured otherwise.
pub const MAX_SAMPLES: u64 = 200;

/// Calls that run side by side at most.
pub const MAX_BESIDE: usize = 8;

/// Daemons in a row that may end while the turn waits for the model, before it is left suspended.
pub const MAX_DEATHS: u32 = 3;

/// One turn of a session.
#[derive(Clone, Debug)]
pub struct Turn {
    id: TurnId,
    phase: Phase,
    /// Answers of the model so far, the growing one included.
    samples: u64,
    max_samples: u64,
    /// Answers in a row that held nothing.
    empty_answers: u32,
    /// Requests made for this answer that failed.
    failed: u32,
    /// When the first request for this answer was made, by the steady clock.
    asked: Duration,
    interrupted: bool,
    /// No sample has succeeded since a daemon took this turn over from a dead one.
    taken_over: bool,
    next_item: ItemId,
    next_approval: ApprovalId,
    now: Now,
}

/// What the turn waits for.
#[derive(Clone, Debug)]
enum Phase {
    /// The model is asked, or answers.
    Sampling(Box<Answer>),
    /// A failed request waits for its next attempt.
    Backoff,
    /// Tool calls are looked at, decided or run; never empty.
    Acting(BTreeMap<ItemId, CallPhase>),
    /// A person or a new client must send it on.
    Suspended,
    /// Nothing more will happen. No input leaves this phase.
    Ended,
}

/// How far one call has come.
#[derive(Clone, Debug, PartialEq)]
enum CallPhase {
    /// Calls before it come first.
    Waiting,
    /// The tool looks at the arguments.
    Preparing {
        /// What a person has already said yes to.
        approved: Option<Access>,
    },
    /// A person is asked.
    Asking(ApprovalId),
    /// It runs.
    Acting {
        /// Whether others may run beside it.
        read_only: bool,
    },
    /// It runs and has been told to stop.
    Stopping,
    /// It has its outcome.
    Ended,
}

impl Turn {
    /// Begins a turn on a session that has none running.
    #[must_use]
    pub fn begin(transcript: &Transcript, beginning: Beginning) -> (Self, Vec<Effect>) {
        let mut turn = Self::idle(transcript, transcript.next_turn(), beginning.max_samples);
        turn.now = beginning.now;
        let QueuedPrompt {
            prompt,
            request_id,
            by,
            ..
        } = beginning.prompt;
        let started = TurnStarted {
            turn: turn.id.get(),
            model: transcript.model().to_owned(),
        };
        let started = Entry {
            body: Body::TurnStarted(started),
            by: by.clone(),
            request_id: request_id.clone(),
        };
        let mut effects = vec![Effect::append(started)];
        if let Some(text) = beginning.preamble {
            let notice = NoticeItem {
                level: NoticeLevel::Info.into(),
                text,
                for_model: true,
            };
            effects.push(turn.complete_new(item::Kind::Notice(notice)));
        }
        for notice in beginning.news {
            effects.push(turn.complete_new(item::Kind::Notice(notice)));
        }
        for end in beginning.ends {
            effects.push(turn.complete_new(item::Kind::Prompt(end)));
        }
        let body = turn.completed(item::Kind::Prompt(prompt.unwrap_or_default()));
        effects.push(Effect::append(Entry {
            body,
            by,
            request_id,
        }));
        turn.ask(&mut effects);
        (turn, effects)
    }

    fn idle(transcript: &Transcript, id: TurnId, max_samples: u64) -> Self {
        Self {
            id,
            phase: Phase::Ended,
            samples: 0,
            max_samples,
            empty_answers: 0,
            failed: 0,
            asked: Duration::ZERO,
            interrupted: false,
            taken_over: false,
            next_item: transcript.next_item(),
            next_approval: transcript.next_approval(),
            now: Now::default(),
        }
    }

    /// The turn's name.
    #[must_use]
    pub fn id(&self) -> TurnId {
        self.id
    }

    /// Whether nothing more will happen.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    /// Takes what happened and says what to do, in order.
    #[must_use]
    pub fn step(&mut self, transcript: &Transcript, now: Now, input: Input) -> Vec<Effect> {
        self.now = now;
        self.next_item = transcript.next_item();
        self.next_approval = transcript.next_approval();
        let mut effects = Vec::new();
        match input {
            Input::Deltas(deltas) => self.take_deltas(transcript, deltas, &mut effects),
            Input::SampleFailed { error, dice } => self.sample_failed(&error, dice, &mut effects),
            Input::Waited if matches!(self.phase, Phase::Backoff) => self.ask(&mut effects),
            Input::Continue if matches!(self.phase, Phase::Suspended) => {
                self.send_on(transcript, &mut effects);
            }
            Input::Waited | Input::Continue => {}
            Input::Prepared { item, look } => self.prepared(transcript, item, look, &mut effects),
            Input::Decided {
                approval,
                answer,
                request_id,
            } => {
                self.append_decision(approval, &answer, request_id, &mut effects);
                self.decided(transcript, approval, &answer, &mut effects);
            }
            Input::Finished { item, ending } => {
                self.finished(transcript, item, ending, &mut effects)
            }
            Input::Interrupt { by, request_id } => {
                self.interrupt(transcript, by, request_id, &mut effects);
            }
        }
        effects
    }

    /// Asks the model, with the steering prompts that came in the meantime.
    fn go_on(&mut self, transcript: &Transcript, effects: &mut Vec<Effect>) {
        if self.samples >= self.max_samples {
            let error = format!(
                "the turn reached its limit of {} requests to the model",
                self.max_samples
            );
            return self.end(StopReason::Limit, Some(("limit", error)), effects);
        }
        self.take_steers(transcript, effects);
        self.ask(effects);
    }

    fn ask(&mut self, effects: &mut Vec<Effect>) {
        self.phase = Phase::Sampling(Box::default());
        if self.failed == 0 {
            self.asked = self.now.steady;
        }
        effects.push(Effect::Activity(ActivityKind::Asking, String::new()));
        effects.push(Effect::Sample);
    }

    /// Moves steering prompts from the queue into the conversation.
    fn take_steers(&mut self, transcript: &Transcript, effects: &mut Vec<Effect>) {
        for queued in steers(transcript) {
            let prompt = queued.prompt.clone().unwrap_or_default();
            let body = self.completed(item::Kind::Prompt(prompt));
            let request_id = queued.request_id.clone();
            effects.push(Effect::append(Entry {
                body,
                by: queued.by.clone(),
                request_id,
            }));
        }
    }

    fn interrupt(
        &mut self,
        transcript: &Transcript,
        by: Option<ClientRef>,
        request_id: String,
        effects: &mut Vec<Effect>,
    ) {
        if self.has_ended() || self.interrupted {
            return;
        }
        self.interrupted = true;
        let text = match &by {
            Some(client) => format!("Interrupted from {}.", client.name),
            None => "Interrupted.".to_owned(),
        };
        let notice = NoticeItem {
            level: NoticeLevel::Info.into(),
            text,
            for_model: false,
        };
        let body = self.completed(item::Kind::Notice(notice));
        effects.push(Effect::append(Entry {
            body,
            by,
            request_id,
        }));
        match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Sampling(answer) => {
                effects.push(Effect::StopSample);
                self.close(*answer, ItemStatus::Completed, effects);
                self.end(StopReason::Interrupted, None, effects);
            }
            Phase::Acting(calls) => self.stop_calls(transcript, calls, effects),
            Phase::Backoff => self.end(StopReason::Interrupted, None, effects),
            Phase::Suspended => {
                let calls = self.calls_left(transcript);
                self.stop_calls(transcript, calls, effects);
            }
            Phase::Ended => {}
        }
    }

    /// The last event of the turn. The model is told of an interrupt with the next prompt.
    fn end(&mut self, stop: StopReason, error: Option<(&str, String)>, effects: &mut Vec<Effect>) {
        if stop == StopReason::Interrupted {
            let text = "The user interrupted the turn on purpose; what was running was stopped.";
            let notice = NoticeItem {
                level: NoticeLevel::Info.into(),
                text: text.to_owned(),
                for_model: true,
            };
            effects.push(self.complete_new(item::Kind::Notice(notice)));
        }
        let (kind, error) = error.unwrap_or_default();
        let ended = TurnEnded {
            turn: self.id.get(),
            stop_reason: stop.into(),
            // The actor fills it in: it has the prices.
            usage: None,
            error,
            error_kind: kind.to_owned(),
        };
        self.phase = Phase::Ended;
        effects.push(Effect::append(Body::TurnEnded(ended)));
        effects.push(Effect::Activity(ActivityKind::Idle, String::new()));
    }

    /// A new item that is complete from the start.
    fn complete_new(&mut self, kind: item::Kind) -> Effect {
        Effect::append(self.completed(kind))
    }

    fn completed(&mut self, kind: item::Kind) -> Body {
        let item = self.new_item(ItemStatus::Completed, kind);
        Body::ItemCompleted(ItemCompleted { item: Some(item) })
    }

    fn new_item(&mut self, status: ItemStatus, kind: item::Kind) -> Item {
        let id = self.next_item;
        self.next_item = id.next();
        let ended_ms = if status == ItemStatus::Growing {
            0
        } else {
            self.now.wall_ms
        };
        Item {
            id: id.get(),
            turn: self.id.get(),
            status: status.into(),
            started_ms: self.now.wall_ms,
            ended_ms,
            kind: Some(kind),
        }
    }

    /// `item` in its final form.
    fn settle(&self, item: Item, status: ItemStatus) -> Effect {
        let item = Item {
            status: status.into(),
            ended_ms: self.now.wall_ms,
            ..item
        };
        Effect::append(Body::ItemCompleted(ItemCompleted { item: Some(item) }))
    }

    fn append_decision(
        &self,
        approval: ApprovalId,
        answer: &ApprovalAnswer,
        request_id: String,
        effects: &mut Vec<Effect>,
    ) {
        let body = Body::ApprovalDecided(ApprovalDecided {
            id: approval.get(),
            answer: Some(answer.clone()),
        });
        effects.push(Effect::append(Entry {
            body,
            by: answer.by.clone(),
            request_id,
        }));
    }
}

/// Queued prompts that join the running turn.
fn steers(transcript: &Transcript) -> impl Iterator<Item = &QueuedPrompt> {
    transcript
        .queue()
        .iter()
        .filter(|queued| queued.mode == PromptMode::Steer as i32)
}
