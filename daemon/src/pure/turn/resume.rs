//! Going on with a turn that another daemon began.
//!
//! What the log holds is the truth: text that was shown and not finished is kept as cut off, calls
//! that were promised are found out about, calls that were not are looked at afresh, and the model
//! is asked again when nothing else is open.

use std::collections::BTreeMap;

use quire_proto::{
    id::{ApprovalId, ItemId, TurnId},
    v1::{ActivityKind, Item, ItemStatus, item::Kind},
};

use super::{
    CallPhase, Effect, Phase, Turn,
    acting::{as_written, call_of},
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
    /// Milliseconds since the Unix epoch.
    pub now_ms: i64,
}

impl Turn {
    /// Takes over a turn. Its effects make the log whole before anything new happens.
    #[must_use]
    pub fn resume(transcript: &Transcript, remains: &Remains) -> (Self, Vec<Effect>) {
        let mut turn = Self::idle(transcript, remains.turn, remains.max_samples);
        turn.now_ms = remains.now_ms;
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
        let (whole, cut): (Vec<Item>, Vec<Item>) = calls
            .into_iter()
            .partition(|item| call_of(item).is_some_and(|call| call.sample <= turn.samples));
        for item in cut {
            effects.push(turn.cut_call(item));
        }
        turn.take_over(transcript, &whole, &mut effects);
        (turn, effects)
    }

    fn take_over(&mut self, transcript: &Transcript, calls: &[Item], effects: &mut Vec<Effect>) {
        if transcript.is_suspended() {
            self.phase = Phase::Suspended;
            effects.push(Effect::Activity(ActivityKind::Suspended, String::new()));
            return;
        }
        if calls.is_empty() {
            return self.go_on(transcript, effects);
        }
        let mut phases = BTreeMap::new();
        let mut waiting_for = ActivityKind::Acting;
        for (id, call) in calls
            .iter()
            .filter_map(|item| Some((ItemId::new(item.id)?, call_of(item)?)))
        {
            let asked = transcript
                .approval_of(id)
                .map(|approval| (approval, approval.answer.is_some()));
            let phase = match (&call.intent, asked) {
                (Some(intent), _) => {
                    let intent = intent.clone();
                    effects.push(Effect::Resume {
                        item: id,
                        call: as_written(call),
                        intent,
                    });
                    CallPhase::Acting { read_only: false }
                }
                (None, Some((approval, false))) => {
                    waiting_for = ActivityKind::Approval;
                    ApprovalId::new(approval.id).map_or(CallPhase::Waiting, CallPhase::Asking)
                }
                // A no would have ended the call in the same commit.
                (None, Some((approval, true))) => {
                    effects.push(Effect::Prepare {
                        item: id,
                        call: as_written(call),
                    });
                    CallPhase::Preparing {
                        approved: approval.access.clone(),
                    }
                }
                (None, None) => CallPhase::Waiting,
            };
            phases.insert(id, phase);
        }
        self.phase = Phase::Acting(phases);
        effects.push(Effect::Activity(waiting_for, String::new()));
        self.schedule(transcript, &[], effects);
    }
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
