//! Turns as the log tells them, one by one.

use std::{
    collections::{BTreeMap, btree_map},
    ops::RangeBounds,
};

use quire_proto::v1::{Event, Item, Turn, event::Body};

/// The turns of one session.
#[derive(Clone, Debug, Default)]
pub(super) struct TurnLog(BTreeMap<u64, Turn>);

impl TurnLog {
    pub(super) fn apply(&mut self, event: &Event, body: &Body) {
        match body {
            Body::TurnStarted(started) => {
                let turn = Turn {
                    turn: started.turn,
                    model: started.model.clone(),
                    started_ms: event.time_ms,
                    ..Turn::default()
                };
                self.0.insert(started.turn, turn);
            }
            Body::TurnSuspended(suspended) => {
                self.named(suspended.turn).suspended = Some(suspended.clone());
            }
            // Sent on, if it was suspended.
            Body::SampleRetried(retried) => {
                let turn = self.named(retried.turn);
                turn.suspended = None;
                turn.retried = Some(retried.clone());
            }
            Body::TurnEnded(ended) => {
                self.goes_on(ended.turn);
                let turn = self.named(ended.turn);
                turn.ended_ms = event.time_ms;
                turn.ended = Some(ended.clone());
            }
            Body::SampleEnded(ended) => self.goes_on(ended.turn),
            Body::ItemStarted(change) => self.spoke(change.item.as_ref()),
            Body::ItemChanged(change) => self.spoke(change.item.as_ref()),
            Body::ItemCompleted(change) => self.spoke(change.item.as_ref()),
            _ => {}
        }
    }

    /// Turns of these numbers, oldest first.
    pub(super) fn range(&self, of: impl RangeBounds<u64>) -> btree_map::Range<'_, u64, Turn> {
        self.0.range(of)
    }

    fn spoke(&mut self, item: Option<&Item>) {
        self.goes_on(item.map_or(0, |item| item.turn));
    }

    /// Something happened in the turn: it neither waits nor retries any more.
    fn goes_on(&mut self, turn: u64) {
        if let Some(turn) = self.0.get_mut(&turn) {
            turn.suspended = None;
            turn.retried = None;
        }
    }

    fn named(&mut self, number: u64) -> &mut Turn {
        let turn = self.0.entry(number).or_default();
        turn.turn = number;
        turn
    }
}
