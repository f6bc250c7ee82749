//! Contents that models were shown, for as long as there is room: what makes a diff of the news possible.
//!
//! Shared by all sessions and found by their hash. Nothing depends on a content being here.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use crate::pure::transcript::seen::Fingerprint;

/// Largest content that is kept, in bytes.
pub const KEPT_FILE: usize = 128 << 10;

/// Most bytes that are kept in all.
const ROOM: usize = 4 << 20;

/// What a content costs besides its bytes.
const ENTRY: usize = 128;

/// Contents by their hash, the oldest let go first. Cheap to clone.
#[derive(Clone, Default)]
pub struct Kept(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    contents: HashMap<Fingerprint, Arc<[u8]>>,
    order: VecDeque<Fingerprint>,
    bytes: usize,
}

impl Kept {
    /// Keeps a content, unless it is too large.
    pub fn keep(&self, name: Fingerprint, content: &[u8]) {
        if content.len() > KEPT_FILE {
            return;
        }
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.contents.contains_key(&name) {
            return;
        }
        state.bytes += content.len() + ENTRY;
        state.contents.insert(name, content.into());
        state.order.push_back(name);
        while state.bytes > ROOM
            && let Some(oldest) = state.order.pop_front()
        {
            let gone = state.contents.remove(&oldest);
            state.bytes -= gone.map_or(0, |content| content.len() + ENTRY);
        }
    }

    /// The content of this hash, if it is still here.
    #[must_use]
    pub fn get(&self, name: &Fingerprint) -> Option<Arc<[u8]>> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.contents.get(name).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first_and_large_ones_are_never_kept() {
        let kept = Kept::default();
        let name = |number: u8| [number; 32];
        kept.keep(name(0), &vec![0; KEPT_FILE + 1]);
        assert!(kept.get(&name(0)).is_none());
        let fit = u8::try_from(ROOM / (KEPT_FILE + ENTRY)).unwrap();
        for number in 1..=fit + 1 {
            kept.keep(name(number), &vec![number; KEPT_FILE]);
        }
        assert!(kept.get(&name(1)).is_none());
        assert!((2..=fit + 1).all(|number| kept.get(&name(number)).is_some()));
    }
}
