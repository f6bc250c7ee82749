//! What all sessions together are, for those who look over all of them: which changed, what waits for a
//! person, which jobs run.
//!
//! Nothing is queued for anyone. Each change gets a number, and an [`Onlooker`] knows up to which it has
//! looked: it is given the sessions that changed since, each once and as it is now. An approval or a job is
//! shared with the onlookers that were told of it, so that they learn how it ended however late they
//! look; what begins and ends between two looks is told too, while it is among the newest. Memory grows
//! with what waits and runs, never with what a slow onlooker misses.

mod matter;
mod onlooker;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use quire_proto::{
    id::SessionId,
    v1::{Approval, Event},
};
use tokio::sync::watch;

pub use matter::Matter;
pub use onlooker::{News, Onlooker};

use super::feed::Feed;
use crate::pure::transcript::Transcript;
use matter::{Key, Shared, touched};

/// Ends kept for onlookers that were not told of the beginning.
const ENDS: usize = 64;

/// Deleted sessions remembered while someone looks on; who was away for more must begin anew.
const DELETIONS: usize = 10_000;

/// The board of one daemon. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    /// Changes so far.
    now: u64,
    /// Each session that changed, by the number of its newest change.
    order: BTreeMap<u64, SessionId>,
    posts: HashMap<SessionId, Post>,
    /// The newest ends, oldest first, and how many there were before them.
    ends: VecDeque<(SessionId, Shared)>,
    ends_before: u64,
    /// Deletions that are remembered.
    deletions: usize,
    /// The number of the newest deletion that is not.
    forgotten: u64,
    onlookers: usize,
}

/// One session.
#[derive(Debug, Default)]
struct Post {
    /// Number of its newest change; 0 for none since it was opened.
    changed: u64,
    deleted: bool,
    feed: Weak<Feed>,
    /// What waits and what runs.
    matters: BTreeMap<Key, Shared>,
}

impl Board {
    /// A session has an actor from here on, and is as `transcript` tells. That alone changes nothing for
    /// onlookers.
    pub(super) fn enter(&self, id: &SessionId, feed: &Arc<Feed>, transcript: &Transcript) {
        let mut state = self.state();
        let post = state.posts.entry(id.clone()).or_default();
        let known = post.changed > 0;
        let returned = std::mem::take(&mut post.deleted);
        post.feed = Arc::downgrade(feed);
        post.matters.retain(|key, _| key.find(transcript).is_some());
        let before = post.matters.keys().filter_map(|key| key.find(transcript));
        let matters: Vec<Matter> = before.chain(Matter::open(transcript)).collect();
        for matter in matters {
            state.put(id, matter);
        }
        state.deletions -= usize::from(returned);
        if known {
            state.stir(id);
            drop(state);
            self.0.changed.send_replace(());
        }
    }

    /// Events of a session are in the log, and left it as `transcript` tells.
    pub(super) fn wrote(&self, id: &SessionId, transcript: &Transcript, events: &[Event]) {
        let mut state = self.state();
        for key in touched(events) {
            if let Some(matter) = key.find(transcript) {
                state.put(id, matter);
            }
        }
        state.stir(id);
        drop(state);
        self.0.changed.send_replace(());
    }

    /// Something about a session changed that its events do not tell, such as who is attached.
    pub fn stir(&self, id: &SessionId) {
        let mut state = self.state();
        if state.posts.get(id).is_some_and(|post| !post.deleted) {
            state.stir(id);
            drop(state);
            self.0.changed.send_replace(());
        }
    }

    /// A session is gone, with all that waited or ran in it.
    pub fn deleted(&self, id: &SessionId) {
        let mut state = self.state();
        let post = state.posts.entry(id.clone()).or_default();
        post.matters.clear();
        let again = std::mem::replace(&mut post.deleted, true);
        state.deletions += usize::from(!again);
        state.stir(id);
        state.forget_deletions();
        drop(state);
        self.0.changed.send_replace(());
    }

    /// Whether nobody was told yet that this approval waits; from now on somebody was.
    pub(super) fn tell_once(&self, id: &SessionId, approval: &Approval) -> bool {
        let state = self.state();
        let post = state.posts.get(id);
        let waits = post.and_then(|post| post.matters.get(&Key::Approval(approval.id)));
        waits.is_some_and(|waits| !std::mem::replace(&mut matter::lock(waits).told, true))
    }

    /// Someone who looks on from now.
    #[must_use]
    pub fn onlooker(&self) -> Onlooker {
        Onlooker::of(self.clone())
    }

    fn changes(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock can leave the state half changed.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn stir(&mut self, id: &SessionId) {
        self.now += 1;
        let post = self.posts.entry(id.clone()).or_default();
        self.order.remove(&post.changed);
        post.changed = self.now;
        self.order.insert(self.now, id.clone());
    }

    /// Notes how a matter stands.
    fn put(&mut self, id: &SessionId, matter: Matter) {
        let (key, over) = (matter.key(), matter.is_over());
        let post = self.posts.entry(id.clone()).or_default();
        let shared = match post.matters.remove(&key) {
            Some(shared) => {
                matter::lock(&shared).becomes(matter);
                shared
            }
            None => matter::shared(matter),
        };
        if !over {
            post.matters.insert(key, shared);
            return;
        }
        self.ends.push_back((id.clone(), shared));
        if self.ends.len() > ENDS {
            self.ends.pop_front();
            self.ends_before += 1;
        }
    }

    /// Nobody has to be told of a deletion who comes after it.
    fn forget_deletions(&mut self) {
        let most = if self.onlookers == 0 { 0 } else { DELETIONS };
        if self.deletions <= most {
            return;
        }
        let deleted = |(_, id): &(&u64, &SessionId)| self.posts.get(*id).is_some_and(|p| p.deleted);
        let surplus = self.deletions - most;
        let oldest = self.order.iter().filter(deleted).take(surplus);
        let oldest: Vec<(u64, SessionId)> = oldest.map(|(at, id)| (*at, id.clone())).collect();
        for (at, id) in oldest {
            self.order.remove(&at);
            self.posts.remove(&id);
            self.deletions -= 1;
            self.forgotten = at;
        }
    }
}

/// A session's place on the board, for its feed.
#[derive(Clone, Debug)]
pub struct Seat {
    board: Board,
    id: SessionId,
}

impl Seat {
    /// The place of this session.
    #[must_use]
    pub fn new(board: Board, id: SessionId) -> Self {
        Self { board, id }
    }

    /// As [`Board::stir`].
    pub fn stir(&self) {
        self.board.stir(&self.id);
    }
}
