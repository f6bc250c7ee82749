//! One watcher's stream: pulled by its reader, from its own cursor.
//!
//! The stream looks for more only when the connection has room, and then for one bounded piece: a
//! few events, or a piece of a snapshot that the session makes when it is asked. So a slow or frozen
//! client costs one small state and nothing else. Heartbeats tell a live stream from a dead one.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::{Stream, stream};
use quire_proto::v1::{
    ClientRef, Cursor, Event, Heartbeat, SessionServiceWatchRequest, SessionServiceWatchResponse,
    session_service_watch_response::Update,
};
use tokio::sync::watch::Receiver;
use tonic::{Code, Status};

use crate::{
    adapters::store::{Room, Store},
    edge::{registry::with_clients, status::refuse},
    pure::transcript::{Further, Piece},
    session::{
        Handle,
        feed::{Feed, Next, Reader, wire},
        now_ms,
    },
};

/// What is fetched from the store at a time.
const PAGE: Room = Room {
    events: 500,
    bytes: 128 << 10,
};

/// Who watches: present while this lives.
struct Present {
    feed: Arc<Feed>,
    client: ClientRef,
}

impl Drop for Present {
    fn drop(&mut self) {
        self.feed.detach(&self.client);
    }
}

/// How a client wishes to watch.
pub(super) struct Wish {
    cursor: Cursor,
    /// A snapshot in place of more events than this; 0 for never.
    snapshot_beyond: u64,
    heartbeat: Duration,
}

impl Wish {
    /// What `request` asks for, with a heartbeat as often as it was agreed.
    pub(super) fn of(request: SessionServiceWatchRequest, heartbeat: Duration) -> Self {
        Self {
            cursor: request.after.unwrap_or_default(),
            snapshot_beyond: request.snapshot_beyond,
            heartbeat,
        }
    }
}

struct Watcher {
    handle: Handle,
    store: Store,
    reader: Reader,
    changes: Receiver<()>,
    ready: VecDeque<SessionServiceWatchResponse>,
    snapshot_beyond: u64,
    wanted: Wanted,
    heartbeat: Duration,
    ended: bool,
    _present: Option<Present>,
}

/// Which piece of a snapshot comes before any event.
enum Wanted {
    None,
    First,
    Older(Further),
}

/// Everything after the cursor, then what happens, until the reader leaves.
pub(super) fn watch(
    handle: Handle,
    store: Store,
    wish: Wish,
    client: Option<ClientRef>,
) -> impl Stream<Item = Result<SessionServiceWatchResponse, Status>> {
    let watcher = Watcher::new(handle, store, wish, client);
    stream::unfold(watcher, |mut watcher| async {
        let update = watcher.next().await?;
        Some((update, watcher))
    })
}

impl Watcher {
    fn new(handle: Handle, store: Store, wish: Wish, client: Option<ClientRef>) -> Self {
        let cursor = wish.cursor;
        let growing = cursor.growing.iter();
        let offsets = growing
            .map(|growing| (growing.item, growing.offset))
            .collect();
        let reader = Reader::at(cursor.seq, offsets);
        let reader = match client.as_ref().is_some_and(|client| client.observer) {
            true => reader,
            false => reader.with_world(),
        };
        let feed = handle.feed().clone();
        let present = client.map(|client| {
            feed.attach(client.clone());
            Present {
                feed: feed.clone(),
                client,
            }
        });
        let mut watcher = Self {
            changes: feed.changes(),
            reader,
            ready: VecDeque::new(),
            snapshot_beyond: wish.snapshot_beyond,
            wanted: Wanted::None,
            ended: false,
            _present: present,
            handle,
            store,
            heartbeat: wish.heartbeat,
        };
        if watcher.is_far_behind() {
            watcher.wanted = Wanted::First;
        }
        watcher
    }

    async fn next(&mut self) -> Option<Result<SessionServiceWatchResponse, Status>> {
        loop {
            if let Some(update) = self.ready.pop_front() {
                return Some(Ok(update));
            }
            if self.ended {
                return None;
            }
            if let Err(status) = self.refill().await {
                self.ended = true;
                return Some(Err(status));
            }
        }
    }

    /// Waits until there is something to send.
    async fn refill(&mut self) -> Result<(), Status> {
        match std::mem::replace(&mut self.wanted, Wanted::None) {
            Wanted::None => {}
            Wanted::First => return self.snapshot(None).await,
            Wanted::Older(further) => return self.snapshot(Some(further)).await,
        }
        // What happens after this is seen by `changed` below.
        self.changes.borrow_and_update();
        match self.handle.feed().next(&mut self.reader) {
            Next::Updates(told) => self.ready.extend(told.updates()),
            Next::Behind(_) if self.is_far_behind() => self.wanted = Wanted::First,
            Next::Behind(seq) => self.fetch(seq).await?,
            Next::Closed => {
                let message = "the session was closed or reopened: watch it again from your cursor";
                return Err(refuse(Code::Unavailable, "CLOSED", message));
            }
            Next::Nothing => {
                let changed = tokio::time::timeout(self.heartbeat, self.changes.changed()).await;
                if changed.is_err() {
                    let heartbeat = Heartbeat { time_ms: now_ms() };
                    self.ready.push_back(wire(Update::Heartbeat(heartbeat)));
                }
            }
        }
        Ok(())
    }

    fn is_far_behind(&self) -> bool {
        let lacks = self.handle.feed().head().saturating_sub(self.reader.seq());
        self.snapshot_beyond > 0 && lacks > self.snapshot_beyond
    }

    async fn snapshot(&mut self, further: Option<Further>) -> Result<(), Status> {
        let piece = self.handle.piece(further).await?;
        let Piece {
            mut snapshot,
            further,
        } = piece;
        let session = snapshot.session.take();
        snapshot.session = session.map(|session| with_clients(session, &self.handle));
        if let Some(further) = further {
            self.wanted = Wanted::Older(further);
        }
        self.reader.jumped(snapshot.seq);
        self.ready.push_back(wire(Update::Snapshot(snapshot)));
        Ok(())
    }

    async fn fetch(&mut self, seq: u64) -> Result<(), Status> {
        let id = self.handle.id();
        let events: Vec<Event> = self.store.events_within(id, seq, PAGE).await?;
        if events.is_empty() {
            let message = format!("the log ends before event {}", seq + 1);
            return Err(refuse(Code::DataLoss, "DAMAGED", message));
        }
        for event in events {
            self.reader.took(&event);
            self.ready.push_back(wire(Update::Event(event)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
