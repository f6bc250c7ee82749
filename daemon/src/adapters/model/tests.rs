//! The transport against servers that behave, and servers that do not.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use futures_util::TryStreamExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::Duration,
};

use super::*;
use crate::pure::{
    catalogue,
    sample::{Delta, Request, SampleError, SampleErrorKind, Stop},
};

const SSE: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
const TEXT: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n";
const STOP: &str =
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const SECRET: &str = "sk-very-secret";

/// What a server does once it has read a request.
#[derive(Clone)]
enum Act {
    Send(String),
    /// Says the same over and over until the client goes.
    Repeat(&'static str),
    /// Waits until the client goes.
    Hold,
    Reset,
}

/// A server that answers every request alike, for as long as it lives.
struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    /// Connections that the client has closed.
    closed: watch::Receiver<usize>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Server {
    async fn start(acts: Vec<Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (close, closed) = watch::channel(0);
        let seen = requests.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serve(stream, &acts, &seen).await;
                close.send_modify(|count| *count += 1);
            }
        });
        Self {
            address,
            requests,
            closed,
            accepting,
        }
    }

    fn endpoint(&self, wire: Wire) -> Endpoint {
        Endpoint {
            base_url: format!("http://{}/v1", self.address),
            ..endpoint(wire)
        }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, acts: &[Act], seen: &Mutex<Vec<String>>) {
    let Some(request) = read_request(&mut stream).await else {
        return;
    };
    seen.lock().unwrap().push(request);
    for act in acts {
        match act {
            Act::Send(text) => {
                if stream.write_all(text.as_bytes()).await.is_err() {
                    return;
                }
            }
            Act::Repeat(text) => while stream.write_all(text.as_bytes()).await.is_ok() {},
            Act::Hold => while matches!(stream.read(&mut [0; 64]).await, Ok(1..)) {},
            Act::Reset => stream.set_zero_linger().unwrap(),
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return None,
            Ok(length) => bytes.extend_from_slice(&piece[..length]),
        }
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.unwrap_or("0").parse().unwrap() {
                return Some(text.into_owned());
            }
        }
    }
}

fn endpoint(wire: Wire) -> Endpoint {
    Endpoint {
        provider: "acme".to_owned(),
        wire,
        base_url: String::new(),
        key: Key::new(SECRET),
        script: None,
        traits: catalogue::look_up("gpt-4.1").unwrap(),
        timeouts: Timeouts::default(),
    }
}

fn send(text: &str) -> Act {
    Act::Send(text.to_owned())
}

fn request() -> Request {
    Request {
        model: "m".to_owned(),
        instructions: "Be brief.".to_owned(),
        ..Request::default()
    }
}

/// Asks once: what was said, and how it ended.
async fn ask(endpoint: Endpoint) -> (Vec<Delta>, Option<SampleError>) {
    let mut stream = open(endpoint).unwrap().sample(request());
    let mut deltas = Vec::new();
    loop {
        match stream.try_next().await {
            Ok(Some(batch)) => {
                assert!(!batch.is_empty());
                deltas.extend(batch);
            }
            Ok(None) => return (deltas, None),
            Err(error) => {
                let end = stream.try_next().await;
                assert_eq!(end, Ok(None), "nothing follows an error");
                return (deltas, Some(error));
            }
        }
    }
}

/// Asks a server of these acts, which must fail, and be asked only once.
async fn fails(acts: Vec<Act>) -> SampleError {
    fails_within(acts, Timeouts::default()).await.1
}

async fn fails_within(acts: Vec<Act>, timeouts: Timeouts) -> (Vec<Delta>, SampleError) {
    let server = Server::start(acts).await;
    let (deltas, error) = ask(Endpoint {
        timeouts,
        ..server.endpoint(Wire::Chat)
    })
    .await;
    assert_eq!(server.requests().len(), 1);
    let error = error.unwrap();
    assert!(error.message.starts_with("`acme` "), "{}", error.message);
    assert!(!error.message.contains(SECRET), "{}", error.message);
    (deltas, error)
}

fn short(pick: fn(&mut Timeouts) -> &mut Duration) -> Timeouts {
    let mut timeouts = Timeouts::default();
    *pick(&mut timeouts) = Duration::from_millis(50);
    timeouts
}

#[tokio::test]
async fn a_chat_answer_comes_through_and_has_its_price() {
    let usage =
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1000000,\"completion_tokens\":10}}\n\n";
    let answer = [SSE, TEXT, STOP, usage, "data: [DONE]\n\n"].concat();
    let server = Server::start(vec![send(&answer)]).await;
    let (deltas, error) = ask(server.endpoint(Wire::Chat)).await;
    assert_eq!(error, None);
    assert_eq!(
        deltas[..2],
        [Delta::Text("hi".to_owned()), Delta::MessageDone]
    );
    let Delta::Ended { stop, usage } = &deltas[2] else {
        panic!("not an end: {deltas:?}");
    };
    assert_eq!((*stop, usage.cost_micros), (Stop::Done, 2_000_080));
    let [request] = &server.requests()[..] else {
        panic!("asked more than once");
    };
    assert!(request.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"));
    assert!(request.contains("\r\nauthorization: Bearer sk-very-secret\r\n"));
    assert!(request.contains("\r\naccept: text/event-stream\r\n"));
    assert!(request.contains("\r\n\r\n{\"model\":\"m\",\"stream\":true,"));
}

#[tokio::test]
async fn a_responses_answer_comes_through() {
    let answer = "data: {\"type\":\"response.output_text.delta\",\"delta\":\"hi\"}\n\n\
                  data: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\"}}\n\n";
    let server = Server::start(vec![send(SSE), send(answer), Act::Hold]).await;
    let endpoint = Endpoint {
        key: None,
        ..server.endpoint(Wire::Responses)
    };
    let (deltas, error) = ask(endpoint).await;
    assert_eq!((deltas.len(), error), (3, None));
    let request = &server.requests()[0];
    assert!(request.starts_with("POST /v1/responses HTTP/1.1\r\n"));
    assert!(!request.contains("authorization"), "no key, no header");
}

#[tokio::test]
async fn refusals_are_told_with_the_word_of_the_provider() {
    use SampleErrorKind::*;
    let answer = |head: &str, body: &str| {
        let length = body.len();
        send(&format!(
            "HTTP/1.1 {head}\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
    };
    let key = format!("{{\"error\":{{\"message\":\"bad key {SECRET}\"}}}}");
    let table = [
        (
            answer("401 Unauthorized", &key),
            Credentials,
            "answered with status 401: bad key ***",
            None,
        ),
        (
            answer("429 Too Many Requests\r\nretry-after: 2", "{}"),
            RateLimited,
            "answered with status 429: {}",
            Some(2),
        ),
        (
            answer(
                "503 Service Unavailable\r\nretry-after: 1",
                "<html>busy</html>",
            ),
            Unreachable,
            "answered with status 503: (a web page)",
            Some(1),
        ),
        (
            answer(
                "400 Bad Request",
                "{\"error\":{\"message\":\"no model `m`\"}}",
            ),
            BadRequest,
            "answered with status 400: no model `m`",
            None,
        ),
        (
            answer("200 OK\r\ncontent-type: text/html; charset=utf-8", "<html>"),
            Garbage,
            "answered with a web page; is its base_url right?",
            None,
        ),
        (
            answer(
                "200 OK\r\ncontent-type: application/json",
                "{\"error\":\"overloaded\"}",
            ),
            Unreachable,
            "reported an error: overloaded",
            None,
        ),
        (
            answer("200 OK\r\ncontent-type: text/plain", "welcome"),
            Garbage,
            "sent something that is not an event stream",
            None,
        ),
    ];
    for (act, kind, message, retry_after) in table {
        let want = SampleError {
            kind,
            message: format!("`acme` {message}"),
            retry_after: retry_after.map(Duration::from_secs),
        };
        assert_eq!(fails(vec![act]).await, want);
    }
}

#[tokio::test]
async fn an_answer_in_one_piece_is_taken() {
    let body = "{\"choices\":[{\"message\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}";
    let length = body.len();
    let head = format!("content-type: application/json\r\ncontent-length: {length}");
    let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}");
    let server = Server::start(vec![send(&answer)]).await;
    let (deltas, error) = ask(server.endpoint(Wire::Chat)).await;
    assert_eq!(deltas[0], Delta::Text("hi".to_owned()));
    assert_eq!(error, None);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = Server::start(vec![]).await;
    for status in [
        "301 Moved",
        "302 Found",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        let target = format!("http://{}/elsewhere", other.address);
        let head = format!("HTTP/1.1 {status}\r\nlocation: {target}\r\ncontent-length: 0\r\n\r\n");
        let error = fails(vec![send(&head)]).await;
        assert_eq!(error.kind, SampleErrorKind::BadRequest);
        let site = format!("redirects to `{}`", other.address);
        assert!(error.message.contains(&site), "{}", error.message);
    }
    assert_eq!(other.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_cut_and_keeps_what_was_said() {
    let short = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n";
    let chunked = format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{TEXT}\r\n50\r\nda",
        TEXT.len()
    );
    for acts in [
        vec![send(SSE), send(TEXT)],
        vec![send(short), send(TEXT)],
        vec![send(&chunked)],
    ] {
        let (deltas, error) = fails_within(acts, Timeouts::default()).await;
        assert_eq!(error.kind, SampleErrorKind::Cut, "{}", error.message);
        assert_eq!(deltas, [Delta::Text("hi".to_owned())]);
    }
    let reset = vec![send(SSE), send(TEXT), Act::Reset];
    // What stood before a reset may be lost in the client's kernel.
    assert_eq!(fails(reset).await.kind, SampleErrorKind::Cut);
}

#[tokio::test]
async fn a_server_that_closes_without_a_word_is_unreachable() {
    for acts in [vec![], vec![Act::Reset]] {
        assert_eq!(fails(acts).await.kind, SampleErrorKind::Unreachable);
    }
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let endpoint = Endpoint {
        base_url: format!("http://user:{SECRET}@{address}"),
        ..endpoint(Wire::Chat)
    };
    let error = ask(endpoint).await.1.unwrap();
    assert_eq!(error.kind, SampleErrorKind::Unreachable);
    let begin = format!("`acme` cannot be reached at `{address}`: Connection refused");
    assert!(error.message.starts_with(&begin), "{}", error.message);
    assert!(!error.message.contains(SECRET));
}

#[tokio::test]
async fn a_server_that_says_nothing_is_not_waited_for_forever() {
    let silent = fails_within(vec![Act::Hold], short(|times| &mut times.first_byte)).await;
    assert_eq!(silent.1.kind, SampleErrorKind::Unreachable);
    let progress = || short(|times| &mut times.progress);
    let (deltas, stalled) = fails_within(vec![send(SSE), send(TEXT), Act::Hold], progress()).await;
    assert_eq!(stalled.kind, SampleErrorKind::Cut);
    assert_eq!(deltas, [Delta::Text("hi".to_owned())]);
}

#[tokio::test]
async fn comments_are_no_progress() {
    let acts = vec![send(SSE), Act::Repeat(": keep-alive\n\n")];
    let (deltas, error) = fails_within(acts, short(|times| &mut times.progress)).await;
    // Should the machine be so fast that it is cut for length first, it was not waited for either.
    use SampleErrorKind::{Cut, TooLarge};
    assert!(matches!(error.kind, Cut | TooLarge), "{}", error.message);
    assert_eq!(deltas, []);
}

#[tokio::test]
async fn an_answer_is_read_only_so_far() {
    let endless_line = vec![send(SSE), send("data: "), Act::Repeat("xxxxxxxxxxxxxxxx")];
    assert_eq!(fails(endless_line).await.kind, SampleErrorKind::TooLarge);
}

#[tokio::test]
async fn figures_after_the_last_word_are_waited_for_only_briefly() {
    let server = Server::start(vec![send(SSE), send(TEXT), send(STOP), Act::Hold]).await;
    let endpoint = Endpoint {
        timeouts: short(|times| &mut times.linger),
        ..server.endpoint(Wire::Chat)
    };
    let (deltas, error) = ask(endpoint).await;
    assert_eq!(error, None);
    assert!(matches!(
        deltas.last(),
        Some(Delta::Ended {
            stop: Stop::Done,
            ..
        })
    ));
}

#[tokio::test]
async fn dropping_the_stream_closes_the_connection() {
    let mut server = Server::start(vec![send(SSE), send(TEXT), Act::Hold]).await;
    let model = open(server.endpoint(Wire::Chat)).unwrap();
    drop(model.sample(request()));
    let mut stream = model.sample(request());
    let first = stream.try_next().await.unwrap().unwrap();
    assert_eq!(first, [Delta::Text("hi".to_owned())]);
    assert_eq!(*server.closed.borrow(), 0);
    drop(stream);
    let closed = server.closed.wait_for(|&count| count == 1);
    let deadline = Duration::from_secs(10);
    tokio::time::timeout(deadline, closed)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        server.requests().len(),
        1,
        "a stream not polled sends nothing"
    );
}

#[test]
fn faults_of_the_configuration_are_told_at_once() {
    let base_url = |base_url: &str| Endpoint {
        base_url: base_url.to_owned(),
        ..endpoint(Wire::Chat)
    };
    let key = Endpoint {
        key: Key::new("a\nb"),
        ..base_url("http://localhost")
    };
    let script = Endpoint {
        script: Some("/nonexistent/script.toml".into()),
        ..endpoint(Wire::Script)
    };
    let table = [
        (
            base_url(""),
            "base_url of provider `acme` is not a URL: relative URL without a base",
        ),
        (
            base_url("ftp://x"),
            "base_url of provider `acme` has scheme `ftp`; it must be http or https",
        ),
        (
            key,
            "the key for provider `acme` holds characters that a key cannot have",
        ),
        (
            endpoint(Wire::Messages),
            "wire `messages` of provider `acme` is not spoken yet; use `responses` or `chat`",
        ),
        (
            endpoint(Wire::Gemini),
            "wire `gemini` of provider `acme` is not spoken yet; use `responses` or `chat`",
        ),
        (
            endpoint(Wire::Script),
            "provider `acme` has wire `script`; set `script` to its file",
        ),
        (script, "cannot read script `/nonexistent/script.toml`"),
    ];
    for (endpoint, want) in table {
        let error = open(endpoint).err().unwrap();
        assert_eq!(error.to_string(), want);
    }
}

#[tokio::test]
async fn a_script_is_played_from_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("script.toml");
    let text = "[[step]]\nfail = \"500\"\ntokens_per_second = 1e6\nsay = \"one two\"\n";
    std::fs::write(&path, text).unwrap();
    let endpoint = Endpoint {
        script: Some(path),
        ..endpoint(Wire::Script)
    };
    let model = open(endpoint).unwrap();
    let failed = model.sample(request()).try_collect::<Vec<_>>().await;
    assert_eq!(failed.unwrap_err().kind, SampleErrorKind::Unreachable);
    let batches = model
        .sample(request())
        .try_collect::<Vec<_>>()
        .await
        .unwrap();
    assert_eq!(batches[0], [Delta::Text("one".to_owned())]);
    assert_eq!(
        batches[1][..2],
        [Delta::Text(" two".to_owned()), Delta::MessageDone]
    );
    let other = Request {
        cache_key: "another session".to_owned(),
        ..request()
    };
    let fresh = model.sample(other).try_collect::<Vec<_>>().await;
    assert!(fresh.is_err(), "each session meets the failures");
}
