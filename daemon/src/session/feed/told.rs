//! Where one watcher stands, and the next piece of what it lacks.
//!
//! A step is bounded by bytes, whatever the session has done meanwhile, so that a reader that stops
//! holds one step and no more. Under the feed's lock it takes references to events and copies of what
//! grows, never more than a step's worth.

use std::{collections::BTreeMap, sync::Arc};

use quire_proto::v1::{
    Activity, Delta, Event, Presence, SessionServiceWatchResponse, Synced, WorldWanted,
    session_service_watch_response::Update,
};

use super::{Grown, State};

/// Bytes after which a step ends. An event that has more comes alone.
const STEP: usize = 64 << 10;

/// Where one watcher stands.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    seq: u64,
    offsets: BTreeMap<u64, u64>,
    /// The growing item that was read last.
    last: u64,
    catching_up: CatchingUp,
    activity: u64,
    presence: u64,
    /// It may act, so it is asked for its world; how often that changed for it.
    world: Option<u64>,
}

/// How far a reader is from being told that the past is over.
#[derive(Clone, Debug, Default)]
enum CatchingUp {
    /// It has not read all events.
    #[default]
    Events,
    /// It reads what items had grown to when it had all events.
    Growing(BTreeMap<u64, u64>),
    Done,
}

/// What the lock was held for.
pub(super) enum Step {
    Nothing,
    Told(Told),
}

/// Updates for one reader, in order: events first.
#[derive(Debug, Default)]
pub struct Told {
    events: Vec<Arc<Event>>,
    then: Vec<Update>,
}

impl Told {
    /// The updates as they go over the wire.
    pub fn updates(self) -> impl Iterator<Item = SessionServiceWatchResponse> {
        let events = self.events.into_iter();
        let events = events.map(|event| Update::Event(Arc::unwrap_or_clone(event)));
        events.chain(self.then).map(wire)
    }
}

/// Wraps one update for the wire.
#[must_use]
pub fn wire(update: Update) -> SessionServiceWatchResponse {
    SessionServiceWatchResponse {
        update: Some(update),
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

    /// Everything up to here has been read.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Takes an event fetched from the store.
    pub fn took(&mut self, event: &Event) {
        self.seq = event.seq;
    }

    /// A snapshot took the place of all events up to `seq`. What grows is read from its first byte.
    pub fn jumped(&mut self, seq: u64) {
        self.seq = seq;
        self.offsets.clear();
        self.catching_up = CatchingUp::Events;
    }

    /// Reads on in a feed that has not let go of anything it lacks.
    pub(super) fn step(&mut self, state: &State) -> Step {
        let mut room = STEP;
        let mut told = Told::default();
        let at = usize::try_from(state.head - self.seq).unwrap_or(usize::MAX);
        let from = state.tail.len().saturating_sub(at);
        for (event, bytes) in state.tail.range(from..) {
            if room == 0 {
                return Step::Told(told);
            }
            room = room.saturating_sub(*bytes);
            self.seq = event.seq;
            told.events.push(event.clone());
        }
        self.deltas(state, room, &mut told.then);
        self.catch_up(state, &mut told.then);
        if matches!(self.catching_up, CatchingUp::Done) {
            self.news(state, &mut told.then);
        }
        match told.events.is_empty() && told.then.is_empty() {
            true => Step::Nothing,
            false => Step::Told(told),
        }
    }

    /// Pieces of what grows, beginning after the item that was read last, so that one that grows without
    /// end keeps nobody from the others.
    fn deltas(&mut self, state: &State, mut room: usize, updates: &mut Vec<Update>) {
        let growing = &state.growing;
        self.offsets.retain(|item, _| growing.contains_key(item));
        let after = growing.range(self.last + 1..);
        for (item, grown) in after.chain(growing.range(..=self.last)) {
            let offset = self.offsets.entry(*item).or_default();
            *offset = (*offset).max(grown.start);
            let piece = cut(grown.from(*offset), room);
            if piece.is_empty() {
                continue;
            }
            updates.push(Update::Delta(Delta {
                item: *item,
                offset: *offset,
                data: piece.to_vec(),
            }));
            *offset += piece.len() as u64;
            room -= piece.len();
            self.last = *item;
        }
    }

    /// Tells once that the past is over: all events, and what items had grown to by then.
    fn catch_up(&mut self, state: &State, updates: &mut Vec<Update>) {
        if matches!(self.catching_up, CatchingUp::Events) {
            let ends = state
                .growing
                .iter()
                .map(|(item, grown)| (*item, grown.end()));
            self.catching_up = CatchingUp::Growing(ends.collect());
        }
        let CatchingUp::Growing(ends) = &self.catching_up else {
            return;
        };
        let lacks = |(item, end): (&u64, &u64)| self.offsets.get(item).is_some_and(|at| at < end);
        if !ends.iter().any(lacks) {
            self.catching_up = CatchingUp::Done;
            updates.push(Update::Synced(Synced { seq: self.seq }));
        }
    }

    /// Who is there, what goes on and what is wanted, when that has changed.
    fn news(&mut self, state: &State, updates: &mut Vec<Update>) {
        if self.presence != state.presence.0 {
            self.presence = state.presence.0;
            let clients = state.presence.1.clone();
            updates.push(Update::Presence(Presence { clients }));
        }
        if self.activity != state.activity.0 {
            self.activity = state.activity.0;
            let activity: Activity = state.activity.1.clone();
            updates.push(Update::Activity(activity));
        }
        if let Some(known) = &mut self.world
            && *known != state.world_wanted.0
        {
            *known = state.world_wanted.0;
            let wanted = state.world_wanted.1;
            updates.extend(wanted.then_some(Update::WorldWanted(WorldWanted {})));
        }
    }
}

impl Grown {
    fn end(&self) -> u64 {
        self.start + self.kept.len() as u64
    }

    /// What is kept from byte `offset` on.
    fn from(&self, offset: u64) -> &[u8] {
        let known = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        self.kept.get(known..).unwrap_or_default()
    }
}

/// The first of these bytes, at most `room`, cut between characters where they are UTF-8. Nothing when
/// there is no room for a character.
fn cut(bytes: &[u8], room: usize) -> &[u8] {
    if bytes.len() <= room {
        return bytes;
    }
    let boundary = |at: &usize| bytes[*at] & 0xC0 != 0x80;
    let end = (room.saturating_sub(3)..=room).rev().find(boundary);
    match end {
        Some(end) => &bytes[..end],
        // No text at all.
        None => &bytes[..room],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_never_split_a_character() {
        let text = "aä€𝄞".repeat(50);
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let piece = cut(rest, 7);
            assert!(!piece.is_empty() && piece.len() <= 7);
            assert!(std::str::from_utf8(piece).is_ok());
            rest = &rest[piece.len()..];
        }
        assert_eq!(cut(text.as_bytes(), 0), b"");
        assert_eq!(cut(&[0x80; 9], 5).len(), 5, "no text");
    }
}
