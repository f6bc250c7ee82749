//! A scripted model: an HTTP server on the loopback interface that speaks two wire formats, plays a
//! list of [`Reply`]s, checks every request against the published rules of its format, and has bad
//! days on demand.
//!
//! The state is in the request, not in the server: a reply is due when all replies before it appear
//! in the conversation. So a request that is sent again, or by another daemon, gets the same answer.
//! A request without tools (a title, a summary) gets a short harmless one.

mod chat;
mod check;
mod raw;
mod responses;
mod script;
mod server;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;

pub use raw::{RawServer, closed_port};
pub use script::{Fault, Gate, Reply};
use server::{Served, Shared};

/// A wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// OpenAI Responses.
    Responses,
    /// OpenAI Chat Completions.
    Chat,
}

impl Wire {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Responses, Self::Chat];

    /// Its name in Quire's configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Responses => "responses",
            Self::Chat => "chat",
        }
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// When its body was complete.
    pub at: Instant,
    /// The format it was asked in.
    pub wire: Wire,
    /// The JSON body.
    pub body: Value,
    /// Bytes of the body.
    pub bytes: usize,
    /// The bearer token it carried; empty for none.
    pub key: String,
    /// Index of the reply that was due, `None` for a request beside the script.
    pub step: Option<usize>,
}

impl Request {
    /// What the model is told in this request of the n-th call of a reply; `None` when that call
    /// has no outcome in it.
    #[must_use]
    pub fn outcome(&self, step: usize, nth: usize) -> Option<String> {
        let prefix = check::call_prefix(step, nth);
        let (list, name, text) = match self.wire {
            Wire::Responses => ("input", "call_id", "output"),
            Wire::Chat => ("messages", "tool_call_id", "content"),
        };
        let entries = self.body[list].as_array()?;
        let of_call = |entry: &&Value| {
            let id = entry[name].as_str().unwrap_or_default();
            id.starts_with(&prefix) && !entry[text].is_null()
        };
        entries
            .iter()
            .find(of_call)
            .map(|entry| check::text(&entry[text]))
    }

    /// Names of the tools on offer.
    #[must_use]
    pub fn tools(&self) -> Vec<String> {
        let tools = self.body["tools"].as_array().into_iter().flatten();
        let names = tools.map(|tool| match self.wire {
            Wire::Responses => &tool["name"],
            Wire::Chat => &tool["function"]["name"],
        });
        names
            .filter_map(|name| Some(name.as_str()?.to_owned()))
            .collect()
    }
}

/// A running server. Dropping it ends it and, unless the test has failed already, fails the test if
/// any request broke the rules of its format.
pub struct MockModel {
    address: SocketAddr,
    shared: Arc<Shared>,
    served: Served,
    pardoned: bool,
}

impl MockModel {
    /// The only key it takes.
    pub const KEY: &str = "sk-mock-0123456789abcdef";

    /// Serves these replies.
    ///
    /// # Panics
    ///
    /// When no loopback port is free.
    #[must_use]
    pub fn playing(replies: impl IntoIterator<Item = Reply>) -> Self {
        let shared = Arc::new(Shared::new(replies.into_iter().collect()));
        let (address, served) = server::serve(Arc::clone(&shared));
        Self {
            address,
            shared,
            served,
            pardoned: false,
        }
    }

    /// What a configuration names as `base_url`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Requests of the script so far; those beside it (titles and the like) are left out.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        let all = self.shared.requests();
        all.into_iter().filter(|one| one.step.is_some()).collect()
    }

    /// Requests beside the script so far: those without tools, for titles and the like.
    #[must_use]
    pub fn asides(&self) -> Vec<Request> {
        let all = self.shared.requests();
        all.into_iter().filter(|one| one.step.is_none()).collect()
    }

    /// Waits until that many requests of the script have come.
    ///
    /// # Panics
    ///
    /// When they don't come in time.
    #[must_use]
    pub fn wait_for_requests(&self, count: usize) -> Vec<Request> {
        self.shared.wait_for_requests(count);
        self.requests()
    }

    /// Every breach of the wire format so far.
    #[must_use]
    pub fn breaches(&self) -> Vec<String> {
        self.shared.breaches()
    }

    /// Lets breaches pass when the server is dropped.
    #[must_use]
    pub fn pardoning(mut self) -> Self {
        self.pardoned = true;
        self
    }

    /// Ends the server now: from here on connections are refused.
    pub fn stop(&mut self) {
        self.served.stop();
    }
}

impl Drop for MockModel {
    fn drop(&mut self) {
        self.stop();
        let breaches = self.breaches();
        if !self.pardoned && !std::thread::panicking() {
            assert!(
                breaches.is_empty(),
                "requests broke the wire format: {breaches:#?}"
            );
        }
    }
}

/// What goes out on one connection, in order.
#[derive(Clone, Debug)]
enum Piece {
    /// Bytes, written as one chunk.
    Bytes(bytes::Bytes),
    /// Waits until the test opens the gate.
    Hold(Gate),
    /// Waits.
    Pause(Duration),
    /// Resets the connection.
    Reset,
    /// Says nothing more, for ever.
    Silence,
}
