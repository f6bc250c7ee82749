//! What one watcher has been shown, held against the rules: a dense log, no byte twice, none lost.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;
use quire_proto::v1::{
    Activity, Cursor, Delta, Event, Item, ItemOffset, ItemStatus, Snapshot, event::Body, item,
    session_service_watch_response::Update,
};

/// What a watcher has seen, and whether that was whole.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// All events, in the order they came.
    pub events: Vec<Event>,
    /// The pieces of a snapshot, in the order they came.
    pub pieces: Vec<Snapshot>,
    /// Bytes of items still growing, by item.
    pub growing: BTreeMap<u64, Vec<u8>>,
    /// True once the daemon said that the past is complete.
    pub synced: bool,
    /// What the turn waits for, as last told.
    pub activity: Option<Activity>,
    /// Gaps and repeats.
    pub faults: Vec<String>,
    /// Why the watch ended, if it has.
    pub ended: Option<String>,
    seq: u64,
    /// Items that are tool calls.
    calls: BTreeSet<u64>,
}

impl View {
    /// What a watcher who is shown just these events has.
    #[must_use]
    pub fn of(events: &[Event]) -> Self {
        let mut view = Self::default();
        let all = events.iter().cloned();
        all.for_each(|event| view.apply(Update::Event(event)));
        view
    }

    pub(crate) fn start(&mut self, cursor: &Cursor) {
        self.seq = cursor.seq;
        for grown in &cursor.growing {
            // The reader has these bytes already; which ones doesn't matter here.
            let bytes = usize::try_from(grown.offset).unwrap_or_default();
            self.growing.insert(grown.item, vec![b'?'; bytes]);
        }
    }

    /// Where this reader stands: what a watch goes on from.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        let growing = self.growing.iter().map(|(item, bytes)| ItemOffset {
            item: *item,
            offset: bytes.len() as u64,
        });
        Cursor {
            seq: self.seq,
            growing: growing.collect(),
        }
    }

    pub(crate) fn apply(&mut self, update: Update) {
        match update {
            Update::Event(event) => self.event(event),
            Update::Delta(delta) => self.delta(&delta),
            Update::Synced(synced) => {
                self.synced = true;
                let seq = self.seq;
                self.rule(synced.seq == seq, || {
                    format!("synced up to {}, but the last event was {seq}", synced.seq)
                });
            }
            Update::Snapshot(piece) => self.piece(piece),
            Update::Activity(activity) => self.activity = Some(activity),
            Update::Heartbeat(_) | Update::Presence(_) | Update::WorldWanted(_) => {}
        }
    }

    /// The first piece takes the place of what was known, each further one goes on where the last
    /// ended.
    fn piece(&mut self, piece: Snapshot) {
        let due = self.awaits_piece();
        self.rule(piece.continued == due, || {
            format!("continued is {} where {due} was due", piece.continued)
        });
        if piece.continued {
            let seq = self.seq;
            self.rule(piece.seq == seq, || {
                format!("a piece at event {} of a snapshot at {seq}", piece.seq)
            });
        } else {
            self.pieces.clear();
            self.events.clear();
            self.seq = piece.seq;
        }
        self.pieces.push(piece);
    }

    fn awaits_piece(&self) -> bool {
        self.pieces.last().is_some_and(|piece| piece.more)
    }

    fn event(&mut self, event: Event) {
        let between = self.awaits_piece();
        self.rule(!between, || {
            format!("event {} between two pieces of a snapshot", event.seq)
        });
        let want = self.seq + 1;
        self.rule(event.seq == want, || {
            format!("event {} where {want} was due", event.seq)
        });
        self.seq = event.seq;
        match &event.body {
            Some(Body::ItemStarted(started)) => {
                let call = |item: &&Item| matches!(item.kind, Some(item::Kind::ToolCall(_)));
                let call = started.item.as_ref().filter(call);
                self.calls.extend(call.map(|item| item.id));
            }
            Some(Body::ItemCompleted(completed)) => {
                if let Some(item) = &completed.item {
                    self.completed(item);
                }
            }
            _ => {}
        }
        self.events.push(event);
    }

    /// What an item has grown to must be what it is in the end.
    fn completed(&mut self, item: &Item) {
        let grown = self.growing.remove(&item.id);
        let text = match &item.kind {
            Some(item::Kind::Message(message)) => &message.text,
            Some(item::Kind::Reasoning(reasoning)) => &reasoning.text,
            _ => return,
        };
        let Some(grown) = grown else { return };
        // The end may overtake the last deltas, so what was shown may be shorter, never other.
        let mut pairs = text.bytes().zip(&grown);
        let same = grown.len() <= text.len() && pairs.all(|(end, had)| end == *had || *had == b'?');
        self.rule(same, || {
            let shown = String::from_utf8_lossy(&grown);
            format!(
                "item {} was shown as `{shown}` but ended as `{text}`",
                item.id
            )
        });
    }

    fn delta(&mut self, delta: &Delta) {
        let have = self.growing.entry(delta.item).or_default();
        let at = have.len() as u64;
        have.extend_from_slice(&delta.data);
        // Output of commands may leave bytes out, but never say any twice; text does neither.
        let follows = delta.offset == at || (self.calls.contains(&delta.item) && delta.offset > at);
        self.rule(follows, || {
            format!(
                "item {}: delta at {} where {at} was due",
                delta.item, delta.offset
            )
        });
    }

    fn rule(&mut self, holds: bool, fault: impl FnOnce() -> String) {
        if !holds {
            self.faults.push(fault());
        }
    }

    /// Turns that have ended.
    #[must_use]
    pub fn turns_ended(&self) -> usize {
        let ended = |event: &&Event| matches!(event.body, Some(Body::TurnEnded(_)));
        self.events.iter().filter(ended).count()
    }

    /// Items in their final form, in the order they ended; those of a snapshot in the order they began.
    #[must_use]
    pub fn items(&self) -> Vec<Item> {
        let pieces = self.pieces.iter().rev();
        let told = pieces.flat_map(|piece| piece.items.iter());
        let finished = told.filter(|item| item.status() != ItemStatus::Growing);
        let mut all: Vec<Item> = finished.cloned().collect();
        all.extend(items(&self.events));
        all
    }

    /// All durable facts as bytes: equal for two watchers who saw the same.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let encoded = self
            .events
            .iter()
            .map(|event| event.encode_length_delimited_to_vec());
        encoded.collect::<Vec<_>>().concat()
    }

    /// Text of the items that grow at this moment.
    #[must_use]
    pub fn growing_text(&self) -> String {
        let texts = self
            .growing
            .values()
            .map(|bytes| String::from_utf8_lossy(bytes));
        texts.collect()
    }
}

/// Items in their final form, in the order they ended.
#[must_use]
pub fn items(events: &[Event]) -> Vec<Item> {
    let completed = events.iter().filter_map(|event| match &event.body {
        Some(Body::ItemCompleted(completed)) => completed.item.clone(),
        _ => None,
    });
    completed.collect()
}
