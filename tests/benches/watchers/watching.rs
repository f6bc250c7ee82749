//! Clients that watch over connections of their own: those that read, and those that have stopped.

use quire_proto::v1::{
    SessionServiceWatchRequest, SessionServiceWatchResponse,
    session_service_client::SessionServiceClient, session_service_watch_response::Update,
};
use quire_tests::{
    home::Home,
    rpc::{Wire, dial},
};
use tokio::runtime::{self, Runtime};
use tonic::Streaming;

pub(crate) type Updates = Streaming<SessionServiceWatchResponse>;

/// Larger than any message of these sessions.
const MESSAGE_MAX: usize = 64 << 20;

/// A connection of its own to the home's daemon.
pub(crate) async fn connected(home: &Home) -> SessionServiceClient<Wire> {
    let record = home.record().expect("a daemon runs");
    let wire = dial(&home.paths(), &record).await;
    SessionServiceClient::new(wire.expect("the daemon answers"))
        .max_decoding_message_size(MESSAGE_MAX)
}

/// A watch of the whole session.
pub(crate) async fn watch(
    sessions: &mut SessionServiceClient<Wire>,
    session: &str,
    snapshot_beyond: u64,
) -> Updates {
    let request = SessionServiceWatchRequest {
        session: session.to_owned(),
        snapshot_beyond,
        ..SessionServiceWatchRequest::default()
    };
    let answer = sessions.watch(request).await;
    answer.expect("the session can be watched").into_inner()
}

/// The next update; `None` when the watch is over.
pub(crate) async fn next(updates: &mut Updates) -> Option<Update> {
    updates.message().await.ok().flatten()?.update
}

/// Reads up to the end of the past.
pub(crate) async fn past(updates: &mut Updates) {
    while let Some(update) = next(updates).await {
        if matches!(update, Update::Synced(_)) {
            return;
        }
    }
    panic!("the watch ended before the past was over");
}

/// Clients whose whole process stands still, connections and all: nothing drives their runtime any more.
pub(crate) struct Stopped {
    _runtime: Runtime,
    _watches: Vec<Updates>,
}

impl Stopped {
    /// So many, which had read all there was.
    pub(crate) fn watching(home: &Home, session: &str, count: usize) -> Self {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("the machine has an event queue left");
        let mut watches = Vec::new();
        runtime.block_on(async {
            for _ in 0..count {
                let mut updates = watch(&mut connected(home).await, session, 0).await;
                past(&mut updates).await;
                watches.push(updates);
            }
        });
        Self {
            _runtime: runtime,
            _watches: watches,
        }
    }
}

/// A runtime for clients that read.
pub(crate) fn readers() -> Runtime {
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("the machine has an event queue left")
}
