//! One watcher's stream: pulled by its reader, from its own cursor.
//!
//! The stream looks for more only when the connection has room, so a slow or frozen client costs one
//! small state and nothing else. Heartbeats tell a live stream from a dead one.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::{Stream, stream};
use quire_proto::v1::{
    ClientRef, Cursor, Event, Heartbeat, SessionServiceWatchResponse,
    session_service_watch_response::Update,
};
use tokio::sync::watch::Receiver;
use tonic::{Code, Status};

use crate::{
    adapters::store::Store,
    edge::status::refuse,
    session::{
        Handle,
        feed::{Feed, Next, Reader, wire},
        now_ms,
    },
};

/// Events fetched from the store at a time.
const PAGE: u32 = 500;

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

struct Watcher {
    handle: Handle,
    store: Store,
    reader: Reader,
    changes: Receiver<()>,
    ready: VecDeque<SessionServiceWatchResponse>,
    heartbeat: Duration,
    ended: bool,
    _present: Option<Present>,
}

/// Everything after `cursor`, then what happens, until the reader leaves.
pub(super) fn watch(
    handle: Handle,
    store: Store,
    cursor: Option<Cursor>,
    client: Option<ClientRef>,
    heartbeat: Duration,
) -> impl Stream<Item = Result<SessionServiceWatchResponse, Status>> {
    let cursor = cursor.unwrap_or_default();
    let offsets = cursor
        .growing
        .iter()
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
    let watcher = Watcher {
        changes: feed.changes(),
        reader,
        ready: VecDeque::new(),
        ended: false,
        _present: present,
        handle,
        store,
        heartbeat,
    };
    stream::unfold(watcher, |mut watcher| async {
        let update = watcher.next().await?;
        Some((update, watcher))
    })
}

impl Watcher {
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
        // What happens after this is seen by `changed` below.
        self.changes.borrow_and_update();
        match self.handle.feed().next(&mut self.reader) {
            Next::Updates(updates) => self.ready.extend(updates),
            Next::Behind(seq) => self.fetch(seq).await?,
            Next::Closed => {
                let message = "the session was closed or reopened: watch it again from your cursor";
                return Err(refuse(Code::Unavailable, "CLOSED", message));
            }
            Next::Nothing => {
                let changed = tokio::time::timeout(self.heartbeat, self.changes.changed()).await;
                if changed.is_err() {
                    self.ready
                        .push_back(wire(Update::Heartbeat(Heartbeat { time_ms: now_ms() })));
                }
            }
        }
        Ok(())
    }

    async fn fetch(&mut self, seq: u64) -> Result<(), Status> {
        let events: Vec<Event> = self.store.events(self.handle.id(), seq, PAGE).await?;
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
