//! Where the thread of the index is told what was written, and asked.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use quire_proto::id::SessionId;
use tokio::sync::oneshot;

use super::{Hits, Search};
use crate::adapters::store::StoreError;

/// How long what was written may wait for more, to be read with it.
const DELAY: Duration = Duration::from_millis(500);

/// What the thread is asked.
pub(super) enum Ask {
    Find {
        search: Box<Search>,
        reply: oneshot::Sender<Result<Hits, StoreError>>,
    },
    Forget {
        session: SessionId,
        reply: oneshot::Sender<()>,
    },
}

/// What the thread does next.
pub(super) enum Next {
    Ask(Ask),
    /// These were written to; may be none.
    Due(HashSet<SessionId>),
    Closed,
}

/// Between the thread and all others. Nobody waits here but the thread.
#[derive(Default)]
pub(in crate::adapters::store) struct Desk {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    /// Before and after, nothing is taken.
    open: bool,
    asks: VecDeque<Ask>,
    wrote: HashSet<SessionId>,
    /// When the first of them was written to.
    since: Option<Instant>,
}

impl Desk {
    pub(super) fn open(&self) {
        self.state().open = true;
    }

    pub(super) fn close(&self) {
        *self.state() = State::default();
        self.wake.notify_all();
    }

    /// These sessions have new events. Costs less than a microsecond, and wakes the thread at most twice a
    /// second.
    pub(in crate::adapters::store) fn wrote<'a>(
        &self,
        sessions: impl Iterator<Item = &'a SessionId>,
    ) {
        let mut state = self.state();
        if !state.open {
            return;
        }
        for session in sessions {
            if !state.wrote.contains(session) {
                state.wrote.insert(session.clone());
            }
        }
        if state.since.is_none() && !state.wrote.is_empty() {
            state.since = Some(Instant::now());
            self.wake.notify_all();
        }
    }

    /// False when nobody answers.
    pub(super) fn ask(&self, ask: Ask) -> bool {
        let mut state = self.state();
        if state.open {
            state.asks.push_back(ask);
            self.wake.notify_all();
        }
        state.open
    }

    /// Waits for something to do: until `patience` is over at the latest, if there is any.
    pub(super) fn next(&self, patience: Option<Duration>) -> Next {
        let own = patience.map(|patience| Instant::now() + patience);
        let mut state = self.state();
        loop {
            if !state.open {
                return Next::Closed;
            }
            if let Some(ask) = state.asks.pop_front() {
                return Next::Ask(ask);
            }
            let written = state.since.map(|since| since + DELAY);
            let due = [own, written].into_iter().flatten().min();
            let now = Instant::now();
            match due {
                Some(due) if due <= now => return Next::Due(take_written(&mut state)),
                Some(due) => {
                    let waited = self.wake.wait_timeout(state, due - now);
                    (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
                }
                None => {
                    let waited = self.wake.wait(state);
                    state = waited.unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// What was written to and not yet told.
    pub(super) fn written(&self) -> HashSet<SessionId> {
        take_written(&mut self.state())
    }

    pub(super) fn is_closed(&self) -> bool {
        !self.state().open
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock can leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take_written(state: &mut State) -> HashSet<SessionId> {
    state.since = None;
    std::mem::take(&mut state.wrote)
}
