//! A model that answers once.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use futures_util::{future::BoxFuture, stream::BoxStream};

use crate::pure::{
    catalogue::Traits,
    sample::{Delta, Request, SampleError},
};

/// The deltas of one sample, as many at a time as arrived together.
///
/// The last batch ends with [`Delta::Ended`], or the stream ends with an error; a stream that ends
/// otherwise counts as cut. Dropping it closes the connection.
pub type Deltas = BoxStream<'static, Result<Vec<Delta>, SampleError>>;

/// One model of one provider.
///
/// A sample is exactly one exchange with the provider: whether to ask again is the turn's to say.
pub trait Model: Send + Sync {
    /// Asks once. Nothing is sent before the stream is first polled.
    fn sample(&self, request: Request) -> Deltas;
}

/// A model that is ready to be asked.
#[derive(Clone)]
pub struct Opened {
    /// Answers.
    pub model: Arc<dyn Model>,
    /// The provider's own name of the model.
    pub name: String,
    /// Level asked of models that have levels.
    pub reasoning_effort: Option<String>,
    /// Most tokens the model may write.
    pub max_output_tokens: Option<u64>,
    /// What it can do and costs.
    pub traits: Traits,
}

/// For whom a model is opened: configuration and keys depend on it.
#[derive(Clone, Debug)]
pub struct Asker {
    /// Absolute directory of the workspace.
    pub workspace: PathBuf,
    /// Environment of the session's client. Never logged, never stored.
    pub environment: Arc<BTreeMap<String, String>>,
}

/// Finds models by name.
pub trait Models: Send + Sync {
    /// Makes `name` ("provider/model") ready: configuration, key and wire format.
    ///
    /// # Errors
    ///
    /// [`SampleError`] of kind `Credentials` or `Configuration`.
    fn open(&self, name: String, asker: Asker) -> BoxFuture<'static, Result<Opened, SampleError>>;

    /// Names of the variables in which providers look for their keys, as far as is known. None of them
    /// is any tool's business.
    fn keys(&self) -> Arc<BTreeSet<String>> {
        Arc::default()
    }

    /// Makes the model ready that configuration names for small work, with its whole name; `None` when
    /// it names none.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    fn open_small(
        &self,
        _asker: Asker,
    ) -> BoxFuture<'static, Result<Option<(String, Opened)>, SampleError>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}
