//! Interrupts that left no event of their own: nothing ran, or the turn was being interrupted already.
//!
//! Repeated after a broken connection they must not hit the turn that began meanwhile. They are remembered
//! as long as the actor lives; the log remembers all others.

use std::collections::VecDeque;

use crate::pure::transcript::Transcript;

/// The newest that are remembered.
const MOST: usize = 64;

/// Requests and the turn each was answered with, oldest first.
#[derive(Debug, Default)]
pub(super) struct Interrupts(VecDeque<(String, u64)>);

impl Interrupts {
    /// Which turn a request was about, if it was seen before; 0 for none.
    pub(super) fn answer(&self, log: &Transcript, request_id: &str) -> Option<u64> {
        let logged = log.answer(request_id);
        let logged = logged.map(|answer| answer.turn.map_or(0, |turn| turn.get()));
        logged.or_else(|| {
            let mut known = self.0.iter();
            known.find_map(|(id, turn)| (id == request_id).then_some(*turn))
        })
    }

    /// Keeps what a request was answered with.
    pub(super) fn remember(&mut self, request_id: String, turn: u64) {
        if self.0.iter().any(|(id, _)| *id == request_id) {
            return;
        }
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back((request_id, turn));
    }
}
