//! Who is connected: what clients said of themselves, for as long as their connection lives.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use quire_proto::{
    CLIENT_KEY,
    id::RequestId,
    v1::{ClientRef, DaemonServiceHelloRequest},
};
use tonic::metadata::MetadataMap;

use crate::edge::lifecycle::Peer;

/// The clients of this daemon.
#[derive(Clone, Debug, Default)]
pub struct Clients {
    known: Arc<Mutex<BTreeMap<String, ClientRef>>>,
}

impl Clients {
    /// Remembers a client until its connection ends; without `peer`, until the daemon does. `None` when
    /// the connection has introduced as many as it may.
    #[must_use]
    pub fn introduce(
        &self,
        hello: &DaemonServiceHelloRequest,
        peer: Option<&Peer>,
    ) -> Option<ClientRef> {
        let name: String = hello
            .client_name
            .chars()
            .filter(|letter| !letter.is_control())
            .take(40)
            .collect();
        let client = ClientRef {
            id: RequestId::random().to_string(),
            name: if name.is_empty() {
                "unnamed".to_owned()
            } else {
                name
            },
            pid: hello.pid,
            observer: hello.observer,
        };
        if let Some(peer) = peer {
            let (clients, id) = (self.clone(), client.id.clone());
            let is_taken = peer.at_end(move || {
                clients.known().remove(&id);
            });
            if !is_taken {
                return None;
            }
        }
        self.known().insert(client.id.clone(), client.clone());
        Some(client)
    }

    /// The client that a call's metadata names.
    #[must_use]
    pub fn of(&self, metadata: &MetadataMap) -> Option<ClientRef> {
        let id = metadata.get(CLIENT_KEY)?.to_str().ok()?;
        self.known().get(id).cloned()
    }

    /// Everyone who introduced themselves and is still there.
    #[must_use]
    pub fn all(&self) -> Vec<ClientRef> {
        self.known().values().cloned().collect()
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, ClientRef>> {
        // Nothing under the lock can leave the map half changed.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
