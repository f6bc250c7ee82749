//! Models that can be asked: over HTTP, or played from a script.
//!
//! [`open`] turns what configuration says of a provider into a [`Model`]. It sends nothing and
//! builds no TLS; faults of the configuration are told here and not at the first prompt.

mod address;
mod client;
mod http;
mod key;
mod script;
#[cfg(test)]
mod tests;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

pub use self::key::Key;
use crate::{
    ports::model::Model,
    pure::{
        catalogue::Traits,
        codec::{Codec, Wire},
        script::ScriptError,
    },
};

/// One model of one provider, as configuration describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// The provider's name in configuration; it stands in every error.
    pub provider: String,
    /// How to speak to it.
    pub wire: Wire,
    /// For wires over HTTP: `http` or `https`, up to what the wire format adds.
    pub base_url: String,
    /// Sent as bearer token; `None` sends no authorization at all.
    pub key: Option<Key>,
    /// For [`Wire::Script`]: the file.
    pub script: Option<PathBuf>,
    /// What the model can do and costs.
    pub traits: Traits,
    /// How long to wait for what.
    pub timeouts: Timeouts,
}

/// How long an exchange may make no progress. Connecting has its own limit, 10 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the request until the head of the answer.
    pub first_byte: Duration,
    /// From one event that carries the answer on to the next; comments and pings do not count.
    pub progress: Duration,
    /// After the last word, for the figures that may follow it.
    pub linger: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_secs(60),
            progress: Duration::from_secs(120),
            linger: Duration::from_secs(2),
        }
    }
}

/// Why an endpoint can't be asked. All are faults of the configuration.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The wire format is known but not spoken.
    #[error("wire `{wire}` of provider `{provider}` is not spoken yet; use `responses` or `chat`")]
    NotYet {
        /// The provider.
        provider: String,
        /// Its wire.
        wire: Wire,
    },
    /// No URL, or not of a kind that can be posted to. The URL is not repeated: it may hold a secret.
    #[error("base_url of provider `{provider}` {fault}")]
    BaseUrl {
        /// The provider.
        provider: String,
        /// A predicate.
        fault: String,
    },
    /// The key has bytes that no HTTP header may have.
    #[error("the key for provider `{provider}` holds characters that a key cannot have")]
    Key {
        /// The provider.
        provider: String,
    },
    /// A scripted provider without a file.
    #[error("provider `{provider}` has wire `script`; set `script` to its file")]
    NoScript {
        /// The provider.
        provider: String,
    },
    /// The script's file can't be read.
    #[error("cannot read script `{}`", path.display())]
    ReadScript {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The script has a fault.
    #[error("script `{}`: {source}", path.display())]
    Script {
        /// The file.
        path: PathBuf,
        /// Where and what.
        source: ScriptError,
    },
}

/// Makes a model of an endpoint.
///
/// # Errors
///
/// When the endpoint can't be asked as it stands; nothing has been sent.
pub fn open(endpoint: Endpoint) -> Result<Arc<dyn Model>, OpenError> {
    let codec = match endpoint.wire {
        Wire::Responses => Codec::Responses,
        Wire::Chat => Codec::Chat,
        Wire::Script => return Ok(Arc::new(script::Scripted::open(endpoint)?)),
        wire @ (Wire::Messages | Wire::Gemini) => {
            let provider = endpoint.provider;
            return Err(OpenError::NotYet { provider, wire });
        }
    };
    Ok(Arc::new(http::Http::open(endpoint, codec)?))
}
