//! One who looks over all sessions, at its own pace.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use quire_proto::id::SessionId;
use tokio::sync::watch;

use super::{
    Board, State,
    matter::{Key, Matter, Shared, lock},
};
use crate::session::feed::Feed;

/// Where one onlooker stands.
#[derive(Debug)]
pub struct Onlooker {
    board: Board,
    changes: watch::Receiver<()>,
    /// Number of the newest change it has seen.
    seen: u64,
    /// Ends it has seen.
    ends: u64,
    /// What it was told of and is not over for it, with how many changes of it it knows.
    told: HashMap<SessionId, HashMap<Key, (u64, Shared)>>,
}

/// What an onlooker is told.
#[derive(Debug)]
pub enum News {
    /// A session changed. It is as its feed says, or the store if there is no feed any more.
    Session(SessionId, Weak<Feed>),
    /// A session is gone, with all that waited or ran in it.
    Deleted(SessionId),
    /// An approval or a job began, changed or ended.
    Matter(Matter),
    /// It was away for so long that it must begin anew.
    Lost,
}

impl Onlooker {
    pub(super) fn of(board: Board) -> Self {
        let mut state = board.state();
        state.onlookers += 1;
        let (seen, ends) = (state.now, state.ends_before + state.ends.len() as u64);
        drop(state);
        Self {
            changes: board.changes(),
            board,
            seen,
            ends,
            told: HashMap::new(),
        }
    }

    /// What waits and runs now, in sessions that are open, by session.
    pub fn standing(&mut self) -> Vec<(SessionId, Weak<Feed>, Vec<Matter>)> {
        let board = self.board.clone();
        let state = board.state();
        let posts = state
            .posts
            .iter()
            .filter(|(_, post)| !post.matters.is_empty());
        let all = posts.map(|(id, post)| {
            let told = self.told.entry(id.clone()).or_default();
            let matters = post.matters.iter();
            let matters = matters.map(|(key, shared)| take(told, key, shared));
            (id.clone(), post.feed.clone(), matters.collect())
        });
        all.collect()
    }

    /// What it does not know yet, of at most `sessions` sessions; nothing when it knows all. A session
    /// comes before what is beneath it, unless it comes with a later call.
    pub fn next(&mut self, sessions: usize) -> Vec<News> {
        let board = self.board.clone();
        let state = board.state();
        if self.seen < state.forgotten {
            return vec![News::Lost];
        }
        let ended = self.ended(&state);
        let mut news = Vec::new();
        let mut beneath = Vec::new();
        for (at, id) in state.order.range(self.seen + 1..).take(sessions) {
            self.seen = *at;
            let Some(post) = state.posts.get(id) else {
                continue;
            };
            if post.deleted {
                self.told.remove(id);
                news.push(News::Deleted(id.clone()));
                continue;
            }
            news.push(News::Session(id.clone(), post.feed.clone()));
            let told = self.told.entry(id.clone()).or_default();
            beneath.extend(changed(told));
            let new = post.matters.iter();
            let new: Vec<_> = new.filter(|(key, _)| !told.contains_key(*key)).collect();
            beneath.extend(new.into_iter().map(|(key, shared)| take(told, key, shared)));
            if told.is_empty() {
                self.told.remove(id);
            }
        }
        news.extend(ended.into_iter().chain(beneath).map(News::Matter));
        news
    }

    /// The newest ends it has not seen, also of what it was never told of.
    fn ended(&mut self, state: &State) -> Vec<Matter> {
        let seen = self.ends.saturating_sub(state.ends_before);
        let unseen = state
            .ends
            .iter()
            .skip(usize::try_from(seen).unwrap_or(usize::MAX));
        self.ends = state.ends_before + state.ends.len() as u64;
        let mut ended = Vec::new();
        for (id, shared) in unseen {
            if state.posts.get(id).is_none_or(|post| post.deleted) {
                continue;
            }
            let matter = lock(shared).matter.clone();
            if let Some(told) = self.told.get_mut(id) {
                told.remove(&matter.key());
            }
            ended.push(matter);
        }
        ended
    }

    /// Takes note of the changes so far: [`changed`](Self::changed) then waits for the next.
    pub fn look(&mut self) {
        self.changes.borrow_and_update();
    }

    /// Returns when something changed since the last [`look`](Self::look).
    pub async fn changed(&mut self) {
        // The board is ours, so its sender cannot be gone.
        let _always = self.changes.changed().await;
    }
}

impl Drop for Onlooker {
    fn drop(&mut self) {
        let mut state = self.board.state();
        state.onlookers -= 1;
        state.forget_deletions();
    }
}

/// How a matter stands that the onlooker learns of now.
fn take(told: &mut HashMap<Key, (u64, Shared)>, key: &Key, shared: &Shared) -> Matter {
    let standing = lock(shared);
    told.insert(key.clone(), (standing.changes, Arc::clone(shared)));
    standing.matter.clone()
}

/// What became of the matters it was told of. Those that are over are let go.
fn changed(told: &mut HashMap<Key, (u64, Shared)>) -> Vec<Matter> {
    let mut news = Vec::new();
    told.retain(|_, (known, shared)| {
        let standing = lock(shared);
        if standing.changes > *known {
            *known = standing.changes;
            news.push(standing.matter.clone());
        }
        !standing.matter.is_over()
    });
    news
}
