//! Which sessions are known to be damaged, and since which event.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use quire_proto::{id::SessionId, v1};

use super::StoreError;

/// What was found by opening the store, by verifying it and by any read since. It is told with each
/// session that is listed; what cannot be trusted is never read as if it could.
#[derive(Debug, Default)]
pub(super) struct Damage(Mutex<BTreeMap<SessionId, u64>>);

impl Damage {
    pub(super) fn new(found: BTreeMap<SessionId, u64>) -> Self {
        Self(Mutex::new(found))
    }

    /// Remembers that `session` is damaged from event `seq` on, if not before.
    pub(super) fn add(&self, session: &SessionId, seq: u64) {
        let mut all = self.all();
        let known = all.entry(session.clone()).or_insert(seq);
        *known = seq.min(*known);
    }

    /// Remembers what the result of a read tells.
    pub(super) fn learn<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(StoreError::Damaged { session, seq }) = &result {
            self.add(session, *seq);
        }
        result
    }

    /// A deleted session is damaged no more.
    pub(super) fn forget(&self, session: &SessionId) {
        self.all().remove(session);
    }

    /// Tells with each session what is known of its damage.
    pub(super) fn mark(&self, sessions: &mut [v1::Session]) {
        let all = self.all();
        if all.is_empty() {
            return;
        }
        for session in sessions {
            let known = session.id.parse().ok().and_then(|id| all.get(&id));
            if let Some(seq) = known {
                session.damaged_seq = *seq;
            }
        }
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<SessionId, u64>> {
        // Nothing under the lock can leave it half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
