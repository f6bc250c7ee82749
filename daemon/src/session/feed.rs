//! What watchers read: the newest events, the items that grow, and who and what is going on.
//!
//! Nothing is queued for anyone. A [`Reader`] knows where it stands and is given what lies between
//! there and now, so a slow one only gets larger pieces. What is older than the tail kept here it
//! fetches from the store.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use quire_proto::{
    id::ItemId,
    v1::{
        Activity, ClientRef, Delta, Event, Presence, Session, SessionServiceWatchResponse, Synced,
        WorldWanted, event::Body, session_service_watch_response::Update,
    },
};
use tokio::sync::watch;

/// Events kept in memory for readers that are nearly up to date.
const TAIL_EVENTS: usize = 64;
/// Bytes of a command's output kept for the live view.
const OUTPUT_KEPT: usize = 64 << 10;
/// Largest piece of a growing item in one message.
const PIECE: usize = 64 << 10;

/// The live side of one session, shared by its actor and its watchers.
#[derive(Debug)]
pub struct Feed {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    head: u64,
    tail: VecDeque<Event>,
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

/// Where one watcher stands.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    seq: u64,
    offsets: BTreeMap<u64, u64>,
    synced: bool,
    activity: u64,
    presence: u64,
    /// It may act, so it is asked for its world; how often that changed for it.
    world: Option<u64>,
}

/// What a reader gets next.
#[derive(Debug)]
pub enum Next {
    /// Send these; there may be more.
    Updates(Vec<SessionServiceWatchResponse>),
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
        }
    }

    /// Shows events that are safe, and the session as they leave it. Items they complete stop
    /// growing.
    pub fn publish(&self, events: &[Event], summary: Session) {
        self.change(|state| {
            state.summary = summary;
            for event in events {
                state.head = event.seq;
                if let Some(Body::ItemCompleted(done)) = &event.body
                    && let Some(item) = &done.item
                {
                    state.growing.remove(&item.id);
                }
                state.tail.push_back(event.clone());
            }
            let surplus = state.tail.len().saturating_sub(TAIL_EVENTS);
            state.tail.drain(..surplus);
        });
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

    /// What `reader` lacks; it is moved on by what it is given.
    #[must_use]
    pub fn next(&self, reader: &mut Reader) -> Next {
        let state = self.state();
        if state.closed.is_some() {
            return Next::Closed;
        }
        let oldest = state.tail.front().map_or(state.head + 1, |event| event.seq);
        if reader.seq + 1 < oldest && reader.seq < state.head {
            return Next::Behind(reader.seq);
        }
        // It has read from the store what is about to be shown here: till then nothing can be told of what
        // grows, because some of that may be complete for it.
        if reader.seq > state.head {
            return Next::Nothing;
        }
        let mut updates = Vec::new();
        for event in state.tail.iter().filter(|event| event.seq > reader.seq) {
            updates.push(Update::Event(event.clone()));
        }
        reader.seq = reader.seq.max(state.head);
        deltas(&state, reader, &mut updates);
        if !reader.synced {
            reader.synced = true;
            updates.push(Update::Synced(Synced { seq: state.head }));
        }
        if reader.presence != state.presence.0 {
            reader.presence = state.presence.0;
            updates.push(Update::Presence(Presence {
                clients: state.presence.1.clone(),
            }));
        }
        if reader.activity != state.activity.0 {
            reader.activity = state.activity.0;
            updates.push(Update::Activity(state.activity.1.clone()));
        }
        if let Some(known) = &mut reader.world
            && *known != state.world_wanted.0
        {
            *known = state.world_wanted.0;
            let wanted = state.world_wanted.1;
            updates.extend(wanted.then_some(Update::WorldWanted(WorldWanted {})));
        }
        if updates.is_empty() {
            return Next::Nothing;
        }
        Next::Updates(updates.into_iter().map(wire).collect())
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

impl Reader {
    /// A reader that has everything up to `seq`, and `offsets` bytes of items growing after it.
    #[must_use]
    pub fn at(seq: u64, offsets: BTreeMap<u64, u64>) -> Self {
        Self {
            seq,
            offsets,
            ..Self::default()
        }
    }

    /// The same reader, that is asked for its client's world when the session wants one.
    #[must_use]
    pub fn with_world(self) -> Self {
        Self {
            world: Some(0),
            ..self
        }
    }

    /// Takes events fetched from the store.
    pub fn took(&mut self, event: &Event) {
        self.seq = event.seq;
    }
}

/// Wraps one update for the wire.
#[must_use]
pub fn wire(update: Update) -> SessionServiceWatchResponse {
    SessionServiceWatchResponse {
        update: Some(update),
    }
}

fn deltas(state: &State, reader: &mut Reader, updates: &mut Vec<Update>) {
    reader
        .offsets
        .retain(|item, _| state.growing.contains_key(item));
    for (item, grown) in &state.growing {
        let offset = reader.offsets.entry(*item).or_default();
        *offset = (*offset).max(grown.start);
        let known = usize::try_from(*offset - grown.start).unwrap_or(usize::MAX);
        let fresh = grown.kept.get(known..).unwrap_or_default();
        for piece in pieces(fresh) {
            updates.push(Update::Delta(Delta {
                item: *item,
                offset: *offset,
                data: piece.to_vec(),
            }));
            *offset += piece.len() as u64;
        }
    }
}

/// Cuts at most [`PIECE`] bytes at a time, between characters where the bytes are UTF-8.
fn pieces(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let boundary = |at: &usize| bytes.get(*at).is_none_or(|byte| byte & 0xC0 != 0x80);
        let end = (bytes.len().min(PIECE).saturating_sub(3)..=bytes.len().min(PIECE))
            .rev()
            .find(boundary);
        let (piece, rest) = bytes.split_at(end.unwrap_or(bytes.len().min(PIECE)));
        bytes = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seq: u64) -> Event {
        Event {
            seq,
            ..Event::default()
        }
    }

    fn at(head_seq: u64) -> Feed {
        Feed::new(Session {
            head_seq,
            ..Session::default()
        })
    }

    fn told(next: Next) -> Vec<String> {
        let Next::Updates(updates) = next else {
            return vec![format!("{next:?}")];
        };
        let name = |update: SessionServiceWatchResponse| match update.update {
            Some(Update::Event(event)) => format!("event {}", event.seq),
            Some(Update::Delta(delta)) => {
                format!(
                    "delta {}@{} {}",
                    delta.item,
                    delta.offset,
                    String::from_utf8_lossy(&delta.data)
                )
            }
            Some(Update::Synced(synced)) => format!("synced {}", synced.seq),
            other => format!("{other:?}"),
        };
        updates.into_iter().map(name).collect()
    }

    #[test]
    fn a_reader_gets_what_it_lacks_and_nothing_twice() {
        let feed = at(0);
        let mut reader = Reader::default();
        feed.publish(&[event(1)], Session::default());
        feed.grow(ItemId::FIRST, "Hel");
        assert_eq!(
            told(feed.next(&mut reader)),
            ["event 1", "delta 1@0 Hel", "synced 1"]
        );
        assert_eq!(told(feed.next(&mut reader)), ["Nothing"]);
        feed.grow(ItemId::FIRST, "lo ");
        feed.grow(ItemId::FIRST, "you");
        assert_eq!(told(feed.next(&mut reader)), ["delta 1@3 lo you"]);
    }

    #[test]
    fn a_reader_ahead_of_what_is_shown_waits_for_it() {
        let feed = at(1);
        feed.grow(ItemId::FIRST, "soon complete");
        let mut reader = Reader::at(1, BTreeMap::new());
        reader.took(&event(2));
        assert_eq!(told(feed.next(&mut reader)), ["Nothing"]);
        let completes = Event {
            body: Some(Body::ItemCompleted(quire_proto::v1::ItemCompleted {
                item: Some(quire_proto::v1::Item {
                    id: 1,
                    ..Default::default()
                }),
            })),
            ..event(2)
        };
        feed.publish(&[completes], Session::default());
        assert_eq!(told(feed.next(&mut reader)), ["synced 2"]);
    }

    #[test]
    fn a_late_reader_gets_a_growing_item_from_its_first_byte() {
        let feed = at(7);
        feed.grow(ItemId::FIRST, "from the start");
        let mut reader = Reader::at(7, BTreeMap::new());
        assert_eq!(
            told(feed.next(&mut reader)),
            ["delta 1@0 from the start", "synced 7"]
        );
        let mut reader = Reader::at(7, BTreeMap::from([(1, 9)]));
        assert_eq!(
            told(feed.next(&mut reader)),
            ["delta 1@9 start", "synced 7"]
        );
    }

    #[test]
    fn what_has_left_the_tail_is_fetched_from_the_store() {
        let feed = at(0);
        for seq in 1..=TAIL_EVENTS as u64 + 10 {
            feed.publish(&[event(seq)], Session::default());
        }
        assert!(matches!(feed.next(&mut Reader::default()), Next::Behind(0)));
        assert!(matches!(
            at(9).next(&mut Reader::at(4, BTreeMap::new())),
            Next::Behind(4)
        ));
        let mut reader = Reader::at(10, BTreeMap::new());
        assert_eq!(
            told(feed.next(&mut reader)).first().map(String::as_str),
            Some("event 11")
        );
    }

    #[test]
    fn a_flood_of_output_keeps_its_newest_part_and_tells_the_gap() {
        let feed = at(0);
        let block = vec![b'x'; 10_000];
        for number in 0..100 {
            feed.output(ItemId::FIRST, number * 10_000, &block);
        }
        let mut reader = Reader::default();
        let Next::Updates(updates) = feed.next(&mut reader) else {
            panic!("nothing to read")
        };
        let mut end = None;
        for update in updates {
            if let Some(Update::Delta(delta)) = update.update {
                assert!(
                    end.is_none_or(|end| end == delta.offset),
                    "pieces follow each other"
                );
                assert!(
                    end.is_some() || delta.offset > 800_000,
                    "the beginning is gone"
                );
                end = Some(delta.offset + delta.data.len() as u64);
            }
        }
        assert_eq!(end, Some(1_000_000));
    }

    #[test]
    fn pieces_never_split_a_character() {
        let text = "ä".repeat(PIECE);
        for piece in pieces(text.as_bytes()) {
            assert!(piece.len() <= PIECE && std::str::from_utf8(piece).is_ok());
        }
        assert_eq!(
            pieces(text.as_bytes()).map(<[u8]>::len).sum::<usize>(),
            text.len()
        );
    }
}
