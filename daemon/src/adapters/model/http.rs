//! A model over HTTP: one POST, one streamed answer.
//!
//! A sample is one exchange. Nothing is retried here, no redirect is followed, and the key appears
//! in no error. Dropping the stream closes the connection.

use std::{sync::Arc, time::SystemTime};

use futures_util::{StreamExt as _, stream};
use reqwest::{
    Response, Url,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER},
};
use tokio::time::{Duration, Instant, timeout, timeout_at};

use super::{
    Endpoint, Key, OpenError, Timeouts,
    address::{full_url, reach, site},
    client::{Reach, client, innermost},
};
use crate::{
    ports::model::{Deltas, Model},
    pure::{
        catalogue::Traits,
        codec::{Codec, Decoder, Stage, fault, sse},
        sample::{Delta, Request, SampleError, SampleErrorKind},
    },
};

/// Most that is read of an answer that is an error.
const MAX_ERROR_BODY: usize = 64 << 10;

/// How long to read it.
const ERROR_BODY: Duration = Duration::from_secs(5);

/// How long the rest of an answer that has ended is read, so that the connection can serve again.
const DRAIN: Duration = Duration::from_secs(1);

/// One model of one provider.
pub(super) struct Http(Arc<Line>);

/// Whom to ask, and how.
struct Line {
    provider: String,
    url: Url,
    reach: Reach,
    codec: Codec,
    headers: HeaderMap,
    key: Option<Key>,
    traits: Traits,
    timeouts: Timeouts,
}

impl Http {
    pub(super) fn open(endpoint: Endpoint, codec: Codec) -> Result<Self, OpenError> {
        let provider = endpoint.provider;
        let url = match full_url(&endpoint.base_url, codec) {
            Ok(url) => url,
            Err(fault) => return Err(OpenError::BaseUrl { provider, fault }),
        };
        let Some(headers) = headers(endpoint.key.as_ref()) else {
            return Err(OpenError::Key { provider });
        };
        Ok(Self(Arc::new(Line {
            reach: reach(&url),
            provider,
            url,
            codec,
            headers,
            key: endpoint.key,
            traits: endpoint.traits,
            timeouts: endpoint.timeouts,
        })))
    }
}

impl Model for Http {
    fn sample(&self, request: Request) -> Deltas {
        let begin = Exchange::Unsent(self.0.clone(), Box::new(request));
        stream::try_unfold(begin, Exchange::next).boxed()
    }
}

/// How far an exchange has come.
enum Exchange {
    Unsent(Arc<Line>, Box<Request>),
    Reading(Box<Reading>),
    /// What was read before the failure has been given out.
    Failed(SampleError),
    Over,
}

type Next = Result<Option<(Vec<Delta>, Exchange)>, SampleError>;

impl Exchange {
    async fn next(self) -> Next {
        match self {
            Self::Unsent(line, request) => {
                let response = line.ask(&request).await?;
                if is_json(&response) {
                    return line.read_whole(response).await;
                }
                Reading::new(line, response).next().await
            }
            Self::Reading(reading) => reading.next().await,
            Self::Failed(error) => Err(error),
            Self::Over => Ok(None),
        }
    }
}

impl Line {
    /// Posts the request; answers with a success that is not plainly something else.
    async fn ask(&self, request: &Request) -> Result<Response, SampleError> {
        let client = client(self.reach).await;
        let client = client.map_err(|cause| self.unreachable(&cause))?;
        let sent = client
            .post(self.url.clone())
            .headers(self.headers.clone())
            .body(self.codec.encode(request, &self.traits))
            .send();
        let wait = self.timeouts.first_byte;
        let response = match timeout(wait, sent).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(self.unreachable(&innermost(error))),
            Err(_elapsed) => {
                let message = format!("did not begin to answer within {wait:?}");
                return Err(self.error(SampleErrorKind::Unreachable, &message));
            }
        };
        if !response.status().is_success() {
            return Err(self.refusal(response).await);
        }
        if content_type(&response).starts_with("text/html") {
            let message = "answered with a web page; is its base_url right?";
            return Err(self.error(SampleErrorKind::Garbage, message));
        }
        Ok(response)
    }

    /// What an answer that is no success says.
    async fn refusal(&self, response: Response) -> SampleError {
        let status = response.status();
        if status.is_redirection() {
            return self.redirected(&response);
        }
        let retry_after = retry_after(response.headers(), SystemTime::now());
        // A body that does not come leaves the status, which says enough.
        let body = timeout(ERROR_BODY, read(response, MAX_ERROR_BODY)).await;
        let body = body.ok().and_then(Result::ok).unwrap_or_default();
        self.named(fault::from_status(status.as_u16(), &body, retry_after))
    }

    fn redirected(&self, response: &Response) -> SampleError {
        let location = response.headers().get(LOCATION);
        let target = location
            .and_then(|location| location.to_str().ok())
            .and_then(|location| self.url.join(location).ok())
            .map_or_else(
                || "another place".to_owned(),
                |url| format!("`{}`", site(&url)),
            );
        let message = format!(
            "redirects to {target}, where nothing was sent; if that is right, set base_url to it"
        );
        self.error(SampleErrorKind::BadRequest, &message)
    }

    /// An answer in one piece: some servers do not stream, and some report errors as a success.
    async fn read_whole(self: Arc<Self>, response: Response) -> Next {
        let wait = self.timeouts.progress;
        let body = match timeout(wait, read(response, sse::MAX_BODY)).await {
            Ok(Ok(body)) => body,
            Ok(Err(error)) => return Err(self.named(error)),
            Err(_elapsed) => return Err(self.named(self.stalled())),
        };
        let mut decoder = self.codec.decoder();
        let mut deltas = Vec::new();
        let result = decoder.whole(&body, &mut deltas);
        result.map_err(|error| self.named(error))?;
        self.price(&mut deltas);
        Ok(Some((deltas, Exchange::Over)))
    }

    fn price(&self, deltas: &mut [Delta]) {
        if let Some(Delta::Ended { usage, .. }) = deltas.last_mut() {
            usage.cost_micros = self.traits.cost_micros(usage);
        }
    }

    fn unreachable(&self, cause: &str) -> SampleError {
        let message = format!("cannot be reached at `{}`: {cause}", site(&self.url));
        self.error(SampleErrorKind::Unreachable, &message)
    }

    /// Not yet named.
    fn stalled(&self) -> SampleError {
        let wait = self.timeouts.progress;
        let message = format!("stopped in the midst of its answer and was waited for {wait:?}");
        SampleError::new(SampleErrorKind::Cut, message)
    }

    fn error(&self, kind: SampleErrorKind, message: &str) -> SampleError {
        self.named(SampleError::new(kind, message))
    }

    /// An error whose message says who, and not the key.
    fn named(&self, mut error: SampleError) -> SampleError {
        error.message = format!("`{}` {}", self.provider, error.message);
        if let Some(key) = &self.key {
            error.message = key.hide_in(&error.message);
        }
        error
    }
}

/// An answer that is being read.
struct Reading {
    line: Arc<Line>,
    response: Response,
    decoder: Decoder,
    /// When it counts as cut, unless it makes progress.
    deadline: Instant,
}

impl Reading {
    fn new(line: Arc<Line>, response: Response) -> Box<Self> {
        Box::new(Self {
            decoder: line.codec.decoder(),
            deadline: Instant::now() + line.timeouts.progress,
            line,
            response,
        })
    }

    /// Reads until there is something to tell.
    async fn next(mut self: Box<Self>) -> Next {
        let mut deltas = Vec::new();
        loop {
            let before = self.decoder.progress();
            let result = match timeout_at(self.deadline, self.response.chunk()).await {
                Ok(Ok(Some(bytes))) => self.decoder.feed(&bytes, &mut deltas),
                Ok(Ok(None)) => self.decoder.finish(&mut deltas),
                Ok(Err(error)) => self.broken(error, &mut deltas),
                Err(_elapsed) => self.elapsed(&mut deltas),
            };
            if let Err(error) = result {
                return self.failed(error, deltas);
            }
            if self.decoder.stage() == Stage::Ended {
                return Ok(Some(self.ended(deltas)));
            }
            if self.decoder.progress() > before {
                self.deadline = Instant::now() + self.patience();
            }
            if !deltas.is_empty() {
                return Ok(Some((deltas, Exchange::Reading(self))));
            }
        }
    }

    fn patience(&self) -> Duration {
        match self.decoder.stage() {
            Stage::Said => self.line.timeouts.linger,
            Stage::Open | Stage::Ended => self.line.timeouts.progress,
        }
    }

    /// A connection that breaks after the last word has lost nothing.
    fn broken(&mut self, error: reqwest::Error, out: &mut Vec<Delta>) -> Result<(), SampleError> {
        if self.decoder.stage() == Stage::Said {
            return self.decoder.finish(out);
        }
        let cause = innermost(error);
        let message = format!("broke off its answer: {cause}");
        Err(SampleError::new(SampleErrorKind::Cut, message))
    }

    fn elapsed(&mut self, out: &mut Vec<Delta>) -> Result<(), SampleError> {
        if self.decoder.stage() == Stage::Said {
            return self.decoder.finish(out);
        }
        Err(self.line.stalled())
    }

    fn failed(self: Box<Self>, error: SampleError, deltas: Vec<Delta>) -> Next {
        let error = self.line.named(error);
        if deltas.is_empty() {
            return Err(error);
        }
        Ok(Some((deltas, Exchange::Failed(error))))
    }

    fn ended(self: Box<Self>, mut deltas: Vec<Delta>) -> (Vec<Delta>, Exchange) {
        self.line.price(&mut deltas);
        // In the background: the caller has all it asked for.
        tokio::spawn(timeout(DRAIN, read(self.response, MAX_ERROR_BODY)));
        (deltas, Exchange::Over)
    }
}

/// Reads a body of at most `limit` bytes.
async fn read(mut response: Response, limit: usize) -> Result<Vec<u8>, SampleError> {
    let mut body = Vec::new();
    loop {
        let piece = response.chunk().await.map_err(|error| {
            let cause = innermost(error);
            SampleError::new(
                SampleErrorKind::Cut,
                format!("broke off its answer: {cause}"),
            )
        })?;
        let Some(piece) = piece else {
            return Ok(body);
        };
        if body.len() + piece.len() > limit {
            let message = "sent a longer answer than is read";
            return Err(SampleError::new(SampleErrorKind::TooLarge, message));
        }
        body.extend_from_slice(&piece);
    }
}

/// `None` when the key is not fit for a header.
fn headers(key: Option<&Key>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    if let Some(key) = key {
        headers.insert(AUTHORIZATION, key.bearer()?);
    }
    Some(headers)
}

fn content_type(response: &Response) -> String {
    let value = response.headers().get(CONTENT_TYPE);
    let value = value.and_then(|value| value.to_str().ok());
    value.unwrap_or_default().trim().to_ascii_lowercase()
}

fn is_json(response: &Response) -> bool {
    let kind = content_type(response);
    kind.split(';').next().unwrap_or_default().trim() == "application/json"
}

/// The wait that a provider asks for: in milliseconds, in seconds, or as a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = |name: &str| headers.get(name)?.to_str().ok();
    let number = |text: &str| text.trim().parse::<f64>().ok();
    if let Some(milliseconds) = value("retry-after-ms").and_then(number) {
        return Duration::try_from_secs_f64(milliseconds / 1000.0).ok();
    }
    let value = value(RETRY_AFTER.as_str())?;
    if let Some(seconds) = number(value) {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = httpdate::parse_http_date(value.trim()).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_asked_for_is_read_in_every_form() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let table = [
            ("retry-after", "7", Some(7_000)),
            ("retry-after", "0.5", Some(500)),
            ("retry-after", "Sun, 06 Nov 1994 08:50:00 GMT", Some(23_000)),
            ("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("retry-after", "-1", None),
            ("retry-after", "soon", None),
            ("retry-after-ms", "250", Some(250)),
        ];
        for (name, value, want) in table {
            let headers =
                HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static(value))]);
            let want = want.map(Duration::from_millis);
            assert_eq!(retry_after(&headers, now), want, "for {name}: {value}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
