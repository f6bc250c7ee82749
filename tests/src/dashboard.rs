//! The watch over all sessions, as it comes.

use std::time::Instant;

use quire_proto::v1::{
    DaemonServiceWatchRequest, DaemonServiceWatchResponse, Session,
    daemon_service_watch_response::Update,
};
use tonic::{Status, Streaming};

use crate::{rpc::Rpc, wait::PATIENCE};

/// One who looks over all sessions of a home.
pub struct Dashboard<'a> {
    rpc: &'a Rpc,
    stream: Streaming<DaemonServiceWatchResponse>,
}

impl<'a> Dashboard<'a> {
    /// Begins to look.
    ///
    /// # Panics
    ///
    /// When the daemon refuses.
    #[must_use]
    pub fn of(rpc: &'a Rpc) -> Self {
        let request = DaemonServiceWatchRequest {
            heartbeat_ms: 1_000,
        };
        let response = rpc.wait(async { rpc.daemon().watch(request).await });
        let response = response.unwrap_or_else(|status| panic!("watch: {status}"));
        Self {
            rpc,
            stream: response.into_inner(),
        }
    }

    /// What comes next, heartbeats too.
    ///
    /// # Errors
    ///
    /// How the stream ended.
    ///
    /// # Panics
    ///
    /// When nothing comes in time, or the stream ends without a word.
    pub fn take(&mut self) -> Result<Update, Status> {
        let told = self.rpc.wait(self.stream.message())?;
        let update = told.and_then(|told| told.update);
        Ok(update.expect("an update, and no silent end"))
    }

    /// All that comes until `last` does, which is among it.
    ///
    /// # Panics
    ///
    /// When it doesn't come in time.
    pub fn until(&mut self, last: impl Fn(&Update) -> bool) -> Vec<Update> {
        let mut updates = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let update = self.take();
            let update = update.unwrap_or_else(|status| panic!("{status} after {updates:#?}"));
            updates.push(update);
            if updates.last().is_some_and(&last) {
                return updates;
            }
        }
        updates.retain(|update| !matches!(update, Update::Heartbeat(_)));
        panic!("a dashboard waited in vain; it was told {updates:#?}");
    }

    /// All there is.
    pub fn standing(&mut self) -> Vec<Update> {
        self.until(|update| matches!(update, Update::Synced(_)))
    }

    /// Waits until a session is told to be like this.
    pub fn session(&mut self, holds: impl Fn(&Session) -> bool) -> Session {
        let updates = self.until(|update| matches!(update, Update::Session(one) if holds(one)));
        match updates.into_iter().next_back() {
            Some(Update::Session(session)) => session,
            other => unreachable!("{other:?} is a session"),
        }
    }
}

/// The sessions among updates, in order.
#[must_use]
pub fn sessions(updates: &[Update]) -> Vec<&Session> {
    let sessions = updates.iter().filter_map(|update| match update {
        Update::Session(session) => Some(session),
        _ => None,
    });
    sessions.collect()
}
