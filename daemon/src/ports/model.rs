//! A model that answers once.

use futures_util::stream::BoxStream;

use crate::pure::sample::{Delta, Request, SampleError};

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
