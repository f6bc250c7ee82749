//! What watchers read: the newest events, the items that grow, and who and what is going on.
//!
//! Nothing is queued for anyone. A [`Reader`] knows where it stands and is given what lies between
//! there and now, so a slow one only gets larger pieces. What is older than the tail kept here it
//! fetches from the store.

mod told;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prost::Message as _;
use quire_proto::{
    id::ItemId,
    v1::{Activity, ClientRef, Event, Session, event::Body},
};
use tokio::sync::watch;

use super::board::Seat;
pub use told::{Reader, wire};
use told::{Step, Told};

/// Events kept in memory for readers that are nearly up to date, and how many bytes of them.
const TAIL_EVENTS: usize = 64;
const TAIL_BYTES: usize = 256 << 10;
/// Bytes of a command's output kept for the live view.
const OUTPUT_KEPT: usize = 64 << 10;

/// The live side of one session, shared by its actor and its watchers.
#[derive(Debug)]
pub struct Feed {
    state: Mutex<State>,
    changed: watch::Sender<()>,
    /// Where those who look over all sessions are told that someone came or left.
    seat: Option<Seat>,
}

#[derive(Debug, Default)]
struct State {
    head: u64,
    /// With the size of each.
    tail: VecDeque<(Arc<Event>, usize)>,
    tail_bytes: usize,
    growing: BTreeMap<u64, Grown>,
    activity: (u64, Activity),
    presence: (u64, Vec<ClientRef>),
    world_wanted: (u64, bool),
    summary: Session,
    closed: Option<Closed>,
}

/// How the actor of a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// Nobody needs it any more, or the daemon ends.
    Left,
    /// What happens cannot be written down.
    Failed,
    /// A bug.
    Panicked,
}

/// What one item has grown to.
#[derive(Debug, Default)]
struct Grown {
    /// Bytes before `kept` that are no longer here.
    start: u64,
    kept: Vec<u8>,
}

/// What a reader gets next.
#[derive(Debug)]
pub enum Next {
    /// Send these; there may be more.
    Updates(Told),
    /// Events after this seq must be fetched from the store.
    Behind(u64),
    /// The reader has everything.
    Nothing,
    /// The session's actor is gone.
    Closed,
}

impl Feed {
    /// A feed of a session that is as `summary` says.
    #[must_use]
    pub fn new(summary: Session) -> Self {
        let state = State {
            head: summary.head_seq,
            summary,
            ..State::default()
        };
        Self {
            state: Mutex::new(state),
            changed: watch::Sender::new(()),
            seat: None,
        }
    }

    /// Tells the board, too, when something is shown and who comes and leaves.
    #[must_use]
    pub fn seated(mut self, seat: Seat) -> Self {
        self.seat = Some(seat);
        self
    }

    /// Shows events that are safe, and the session as they leave it. Items they complete stop
    /// growing.
    pub fn publish(&self, events: Vec<Event>, summary: Session) {
        let sized = |event: Event| {
            let bytes = event.encoded_len();
            (Arc::new(event), bytes)
        };
        let events: Vec<_> = events.into_iter().map(sized).collect();
        self.change(|state| {
            state.summary = summary;
            for (event, bytes) in events {
                state.head = event.seq;
                if let Some(Body::ItemCompleted(done)) = &event.body
                    && let Some(item) = &done.item
                {
                    state.growing.remove(&item.id);
                }
                state.tail_bytes += bytes;
                state.tail.push_back((event, bytes));
            }
            while state.tail.len() > TAIL_EVENTS || state.tail_bytes > TAIL_BYTES {
                let oldest = state.tail.pop_front();
                state.tail_bytes -= oldest.map_or(state.tail_bytes, |(_, bytes)| bytes);
            }
        });
        self.stir();
    }

    /// Shows more of a text item, once it is safe. Text is kept whole until the item completes.
    pub fn grow(&self, item: ItemId, text: &str) {
        self.change(|state| {
            state
                .growing
                .entry(item.get())
                .or_default()
                .kept
                .extend(text.as_bytes())
        });
    }

    /// Shows output of a command from byte `offset` on. Only the newest part is kept.
    pub fn output(&self, item: ItemId, offset: u64, bytes: &[u8]) {
        self.change(|state| {
            let grown = state.growing.entry(item.get()).or_default();
            let end = grown.start + grown.kept.len() as u64;
            if offset != end {
                grown.kept.clear();
                grown.start = offset;
            }
            grown.kept.extend(bytes);
            let surplus = grown.kept.len().saturating_sub(OUTPUT_KEPT);
            // Cut in larger steps, so that a flood costs linear time.
            if surplus > OUTPUT_KEPT / 2 {
                grown.kept.drain(..surplus);
                grown.start += surplus as u64;
            }
        });
    }

    /// Tells what the turn waits for.
    pub fn set_activity(&self, activity: Activity) {
        self.change(|state| state.activity = (state.activity.0 + 1, activity));
    }

    /// Says whether the session wants a client's world.
    pub fn want_world(&self, wanted: bool) {
        if self.wants_world() != wanted {
            self.change(|state| state.world_wanted = (state.world_wanted.0 + 1, wanted));
        }
    }

    /// Whether the session wants a client's world.
    #[must_use]
    pub fn wants_world(&self) -> bool {
        self.state().world_wanted.1
    }

    /// Someone came to watch.
    pub fn attach(&self, client: ClientRef) {
        self.change(|state| {
            state.presence.0 += 1;
            state.presence.1.push(client);
        });
        self.stir();
    }

    /// Someone left.
    pub fn detach(&self, client: &ClientRef) {
        self.change(|state| {
            state.presence.0 += 1;
            if let Some(place) = state
                .presence
                .1
                .iter()
                .position(|other| other.id == client.id)
            {
                state.presence.1.remove(place);
            }
        });
        self.stir();
    }

    /// The session as its newest event left it.
    #[must_use]
    pub fn summary(&self) -> Session {
        self.state().summary.clone()
    }

    /// Who watches.
    #[must_use]
    pub fn clients(&self) -> Vec<ClientRef> {
        self.state().presence.1.clone()
    }

    /// The actor is gone: watchers are told and must come again.
    /// The first to say so is right about how.
    pub fn close(&self, how: Closed) {
        self.change(|state| {
            state.closed.get_or_insert(how);
        });
    }

    /// How the actor ended; `None` while it lives.
    #[must_use]
    pub fn closed(&self) -> Option<Closed> {
        self.state().closed
    }

    /// Returns when the actor has ended, with how.
    pub async fn ended(&self) -> Closed {
        let mut changes = self.changes();
        loop {
            if let Some(how) = self.closed() {
                return how;
            }
            // The sender is ours, so it cannot be gone.
            let _always = changes.changed().await;
        }
    }

    /// What the turn is said to wait for.
    #[must_use]
    pub fn activity(&self) -> Activity {
        self.state().activity.1.clone()
    }

    /// A signal that something may be new; each receiver sees every change since it last looked.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Seq of the newest event shown.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.state().head
    }

    /// The next of what `reader` lacks; it is moved on by what it is given.
    #[must_use]
    pub fn next(&self, reader: &mut Reader) -> Next {
        let state = self.state();
        if state.closed.is_some() {
            return Next::Closed;
        }
        let oldest = state
            .tail
            .front()
            .map_or(state.head + 1, |(event, _)| event.seq);
        if reader.seq() + 1 < oldest {
            return Next::Behind(reader.seq());
        }
        // It has read from the store what is about to be shown here: till then nothing can be told of what
        // grows, because some of that may be complete for it.
        if reader.seq() > state.head {
            return Next::Nothing;
        }
        let step = reader.step(&state);
        drop(state);
        match step {
            Step::Nothing => Next::Nothing,
            Step::Told(told) => Next::Updates(told),
        }
    }

    fn stir(&self) {
        if let Some(seat) = &self.seat {
            seat.stir();
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.send_replace(());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock can leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
