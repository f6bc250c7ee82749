//! Going on with a turn that another daemon began, or that was suspended.
//!
//! What the log holds is the truth: text that was shown and not finished is kept as cut off, calls
//! that were promised are found out about, calls that were not are looked at afresh, and the model
//! is asked again when nothing else is open. Where the disk has lost the end of the log nothing that
//! was open is known any more, so nothing of it is done again.
//!
//! A turn that costs its daemon's life each time it is begun again must not go on for ever: each such
//! attempt is written down first, and the third in a row is not made.

use std::{collections::BTreeMap, ops::RangeInclusive};

use quire_proto::{
    id::{ApprovalId, ItemId, TurnId},
    v1::{
        ActivityKind, Approval, ApprovalVerdict, Item, ItemStatus, NoticeItem, NoticeLevel,
        OutcomeStatus, SampleRetried, event::Body, item::Kind,
    },
};

use super::{
    CallPhase, Effect, MAX_DEATHS, Now, Phase, Turn,
    acting::{as_written, call_of, ended_item, ending},
};
use crate::pure::transcript::Transcript;

/// What is known of a turn that was running when its daemon ended.
#[derive(Clone, Debug)]
pub struct Remains {
    /// The turn, as [`Transcript::running_turn`] says.
    pub turn: TurnId,
    /// Text that watchers were shown of items that never ended.
    pub grown: BTreeMap<ItemId, String>,
    /// Most requests to the model.
    pub max_samples: u64,
    /// The time.
    pub now: Now,
}

/// Tells people and the model that the disk lost these events.
#[must_use]
pub fn loss(events: &RangeInclusive<u64>) -> NoticeItem {
    let (first, last) = (events.start(), events.end());
    let which = if first == last {
        format!("Event {first} of this session was")
    } else {
        format!("Events {first} to {last} of this session were")
    };
    let text = format!(
        "{which} lost by the disk. What they told may have happened all the same: \
         look before anything is repeated."
    );
    NoticeItem {
        level: NoticeLevel::Warning.into(),
        text,
        for_model: true,
    }
}

impl Turn {
    /// Takes over a turn. Its effects make the log whole before anything new happens.
    #[must_use]
    pub fn resume(transcript: &Transcript, remains: &Remains) -> (Self, Vec<Effect>) {
        let mut turn = Self::idle(transcript, remains.turn, remains.max_samples);
        turn.now = remains.now;
        turn.samples = transcript.answers();
        turn.taken_over = true;
        let mut effects = Vec::new();
        let unfinished: Vec<Item> = transcript.unfinished(remains.turn).cloned().collect();
        let (calls, texts): (Vec<Item>, Vec<Item>) = unfinished
            .into_iter()
            .partition(|item| call_of(item).is_some());
        for item in texts {
            effects.push(turn.settle(with_text(item, &remains.grown), ItemStatus::CutOff));
        }
        let whole = match transcript.lost_at_end() {
            Some(events) => {
                turn.give_up(transcript, calls, &events, &mut effects);
                Vec::new()
            }
            None => turn.cut_unfinished(calls, &mut effects),
        };
        turn.take_over(transcript, &whole, &mut effects);
        (turn, effects)
    }

    /// Cuts off the calls of an answer that never became whole, and returns the others.
    fn cut_unfinished(&self, calls: Vec<Item>, effects: &mut Vec<Effect>) -> Vec<Item> {
        let (whole, cut): (Vec<Item>, Vec<Item>) = calls
            .into_iter()
            .partition(|item| call_of(item).is_some_and(|call| call.sample <= self.samples));
        effects.extend(cut.into_iter().map(|item| self.cut_call(item)));
        whole
    }

    /// Ends all open calls as unknown: what is lost may have been their promise, or even their outcome.
    fn give_up(
        &mut self,
        transcript: &Transcript,
        calls: Vec<Item>,
        events: &RangeInclusive<u64>,
        effects: &mut Vec<Effect>,
    ) {
        for item in calls {
            let asked = ItemId::new(item.id).and_then(|id| transcript.approval_of(id));
            if let Some(approval) = asked.filter(|approval| approval.answer.is_none())
                && let Some(id) = ApprovalId::new(approval.id)
            {
                self.withdraw(id, "the disk lost what came of it", effects);
            }
            let text = "not known: the disk lost what came of this call";
            let ending = ending(OutcomeStatus::Unknown, text);
            effects.push(ended_item(self, item, &ending));
        }
        effects.push(self.complete_new(Kind::Notice(loss(events))));
    }

    fn take_over(&mut self, transcript: &Transcript, calls: &[Item], effects: &mut Vec<Effect>) {
        if transcript.is_interrupted() {
            return self.go_on_stopping(transcript, calls, effects);
        }
        if transcript.is_suspended() {
            self.phase = Phase::Suspended;
            effects.push(Effect::Activity(ActivityKind::Suspended, String::new()));
            return;
        }
        let phases = phases(transcript, calls);
        // A command that runs, or a person who is asked, needs no second attempt.
        let again = phases
            .values()
            .all(|phase| matches!(phase, CallPhase::Preparing { .. } | CallPhase::Waiting));
        if again && transcript.deaths() + 1 >= MAX_DEATHS {
            let reason = format!(
                "the daemon ended {MAX_DEATHS} times in a row before anything came of the turn, so it is not \
                 tried again by itself: go on with `quire send`, or with Enter in an attached terminal"
            );
            return self.suspend(&reason, false, effects);
        }
        if again {
            let what = match calls {
                [] => "the daemon ended while the model was asked",
                _ => "the daemon ended while a call was looked at",
            };
            let attempt = transcript.deaths() + 1;
            effects.push(self.retried(attempt, what, true));
        }
        self.set_out(transcript, calls, phases, effects);
    }

    /// A person sends a suspended turn on. What is written first ends the suspension in the log, and
    /// begins the count of lost attempts anew.
    pub(super) fn send_on(&mut self, transcript: &Transcript, effects: &mut Vec<Effect>) {
        effects.push(self.retried(0, "the turn was suspended and is sent on", false));
        let calls: Vec<Item> = transcript.unfinished(self.id).cloned().collect();
        let phases = phases(transcript, &calls);
        self.set_out(transcript, &calls, phases, effects);
    }

    /// Goes on with open calls, else asks the model.
    fn set_out(
        &mut self,
        transcript: &Transcript,
        calls: &[Item],
        phases: BTreeMap<ItemId, CallPhase>,
        effects: &mut Vec<Effect>,
    ) {
        if phases.is_empty() {
            return self.go_on(transcript, effects);
        }
        let mut waiting_for = ActivityKind::Acting;
        for item in calls {
            let Some((id, call)) = ItemId::new(item.id).zip(call_of(item)) else {
                continue;
            };
            match phases.get(&id) {
                Some(CallPhase::Acting { .. }) => effects.extend(resumed(item)),
                Some(CallPhase::Preparing { .. }) => effects.push(Effect::Prepare {
                    item: id,
                    call: as_written(call),
                }),
                Some(CallPhase::Asking(_)) => waiting_for = ActivityKind::Approval,
                _ => {}
            }
        }
        self.phase = Phase::Acting(phases);
        effects.push(Effect::Activity(waiting_for, String::new()));
        self.schedule(transcript, &[], effects);
    }

    /// Another daemon was told to interrupt the turn and died over it.
    fn go_on_stopping(
        &mut self,
        transcript: &Transcript,
        calls: &[Item],
        effects: &mut Vec<Effect>,
    ) {
        self.interrupted = true;
        let phases = phases(transcript, calls);
        effects.extend(calls.iter().filter_map(resumed));
        self.stop_calls(transcript, phases, effects);
    }

    /// The calls of a suspended turn that have no outcome.
    pub(super) fn calls_left(&self, transcript: &Transcript) -> BTreeMap<ItemId, CallPhase> {
        let calls: Vec<Item> = transcript.unfinished(self.id).cloned().collect();
        phases(transcript, &calls)
    }

    fn retried(&self, attempt: u32, error: &str, daemon_ended: bool) -> Effect {
        Effect::append(Body::SampleRetried(SampleRetried {
            turn: self.id.get(),
            attempt,
            error: error.to_owned(),
            wait_ms: 0,
            daemon_ended,
        }))
    }
}

/// Where the log leaves each of these calls.
fn phases(transcript: &Transcript, calls: &[Item]) -> BTreeMap<ItemId, CallPhase> {
    let mut phases = BTreeMap::new();
    for item in calls {
        let Some((id, call)) = ItemId::new(item.id).zip(call_of(item)) else {
            continue;
        };
        let phase = match (&call.intent, transcript.approval_of(id)) {
            (Some(_), _) => CallPhase::Acting { read_only: false },
            (None, Some(approval)) if approval.answer.is_none() => {
                ApprovalId::new(approval.id).map_or(CallPhase::Waiting, CallPhase::Asking)
            }
            // A no ends the call in the same commit. Should it not have, the call is asked about again.
            (None, Some(approval)) if is_denied(approval) => CallPhase::Waiting,
            (None, Some(approval)) => CallPhase::Preparing {
                approved: approval.access.clone(),
            },
            (None, None) => CallPhase::Waiting,
        };
        phases.insert(id, phase);
    }
    phases
}

fn is_denied(approval: &Approval) -> bool {
    let answer = approval.answer.as_ref();
    answer.is_some_and(|answer| answer.verdict() == ApprovalVerdict::Deny)
}

/// How to find out about a call that was promised.
fn resumed(item: &Item) -> Option<Effect> {
    let call = call_of(item)?;
    Some(Effect::Resume {
        item: ItemId::new(item.id)?,
        call: as_written(call),
        intent: call.intent.clone()?,
    })
}

fn with_text(mut item: Item, grown: &BTreeMap<ItemId, String>) -> Item {
    let text = ItemId::new(item.id)
        .and_then(|id| grown.get(&id))
        .cloned()
        .unwrap_or_default();
    match &mut item.kind {
        Some(Kind::Message(message)) => message.text = text,
        Some(Kind::Reasoning(reasoning)) => reasoning.text = text,
        _ => {}
    }
    item
}
