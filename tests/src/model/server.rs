//! The sockets of the scripted model: requests in, pieces out, and the ways to break off.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Response, StatusCode,
    body::{Frame, Incoming},
    header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{
    MockModel, Piece, Request, Wire, chat,
    check::{Breaches, Due, next_step},
    responses,
    script::{Delivery, Fault, Reply},
};
use crate::wait::PATIENCE;

type Answer = Response<UnsyncBoxBody<Bytes, std::io::Error>>;

/// What all connections share.
pub(super) struct Shared {
    replies: Vec<Reply>,
    log: Mutex<Log>,
    came: Condvar,
}

#[derive(Default)]
struct Log {
    requests: Vec<Request>,
    breaches: Vec<String>,
    /// Requests per reply.
    asked: BTreeMap<usize, usize>,
}

impl Shared {
    pub(super) fn new(replies: Vec<Reply>) -> Self {
        Self {
            replies,
            log: Mutex::default(),
            came: Condvar::new(),
        }
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.lock().requests.clone()
    }

    pub(super) fn breaches(&self) -> Vec<String> {
        self.lock().breaches.clone()
    }

    pub(super) fn wait_for_requests(&self, count: usize) {
        let of_script = |log: &Log| log.requests.iter().filter(|one| one.step.is_some()).count();
        let (log, _) = self
            .came
            .wait_timeout_while(self.lock(), PATIENCE, |log| of_script(log) < count)
            .unwrap_or_else(PoisonError::into_inner);
        let came = of_script(&log);
        assert!(came >= count, "{came} requests came, not {count}");
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a request, and says how it is to be answered: by which reply, and failing how.
    fn note(&self, request: Request, breaches: Breaches) -> (Due, Option<Fault>) {
        let mut log = self.lock();
        let nth = log.requests.len();
        let breaches = breaches.0.into_iter();
        log.breaches
            .extend(breaches.map(|breach| format!("request {nth}: {breach}")));
        let step = request.step;
        log.requests.push(request);
        let due = match step {
            None => Due { step: 0, asked: 0 },
            Some(step) => {
                let asked = log.asked.entry(step).or_default();
                *asked += 1;
                Due {
                    step,
                    asked: *asked,
                }
            }
        };
        drop(log);
        self.came.notify_all();
        let planned = step.and_then(|step| self.replies.get(step)?.fault.clone());
        let fault = planned.filter(|(_, times)| due.asked <= *times);
        (due, fault.map(|(fault, _)| fault))
    }
}

/// A server on a thread of its own.
pub(super) struct Served {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    /// Closes the listener and every connection.
    pub(super) fn stop(&mut self) {
        // The thread may have panicked; the panic is on the screen already.
        self.stop.take();
        self.thread.take().map(JoinHandle::join);
    }
}

/// Serves on a free loopback port.
pub(super) fn serve(shared: Arc<Shared>) -> (SocketAddr, Served) {
    let listener = loopback();
    let address = listener
        .local_addr()
        .expect("a bound socket has an address");
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("the machine has an event queue left");
        // Whatever is still being answered ends with the runtime.
        runtime.block_on(async {
            tokio::select! {
                () = accept(listener, shared) => {}
                _ = stopped => {}
            }
        });
    });
    let served = Served {
        stop: Some(stop),
        thread: Some(thread),
    };
    (address, served)
}

fn loopback() -> TcpListener {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port is free");
    listener
        .set_nonblocking(true)
        .expect("sockets can be non-blocking");
    listener
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("the runtime has I/O");
    while let Ok((socket, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            // Without it, the kernel holds the small chunks back.
            let _ = socket.set_nodelay(true);
            let Ok(socket) = socket.into_std() else {
                return;
            };
            let Ok(twin) = socket.try_clone().map(Arc::new) else {
                return;
            };
            let Ok(socket) = tokio::net::TcpStream::from_std(socket) else {
                return;
            };
            let service = service_fn(move |request| {
                let (shared, twin) = (Arc::clone(&shared), Arc::clone(&twin));
                async move { Ok::<_, Infallible>(answer(request, &shared, &twin).await) }
            });
            // A client that goes away in mid-answer is no failure of the test.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(socket), service)
                .await;
        });
    }
}

async fn answer(
    request: hyper::Request<Incoming>,
    shared: &Shared,
    twin: &Arc<TcpStream>,
) -> Answer {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    if head.method == Method::GET && path.ends_with("/models") {
        let list = json!({ "object": "list", "data": [{ "id": "scripted", "object": "model" }] });
        return plain(StatusCode::OK, &list);
    }
    let wire = match path.as_str() {
        "/v1/responses" => Wire::Responses,
        "/v1/chat/completions" => Wire::Chat,
        _ => return error(StatusCode::NOT_FOUND, &format!("no such path {path}")),
    };
    let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
    let key = header(AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
    let key = key.unwrap_or_default().to_owned();
    let json = header(CONTENT_TYPE).is_some_and(|kind| kind.starts_with("application/json"));
    let Ok(body) = body.collect().await else {
        return error(StatusCode::BAD_REQUEST, "the request was cut");
    };
    let bytes = body.to_bytes();
    let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();

    let mut breaches = Breaches::default();
    breaches.rule(json, || "the content type is not application/json".into());
    let (seen, tools) = match wire {
        Wire::Responses => responses::read(&body, &mut breaches),
        Wire::Chat => chat::read(&body, &mut breaches),
    };
    let step = (!tools.0.is_empty()).then(|| next_step(&shared.replies, &seen));
    let refused = (!breaches.0.is_empty()).then(|| breaches.0.join("; "));
    let allowed = key == MockModel::KEY;
    let request = Request {
        at: Instant::now(),
        wire,
        bytes: bytes.len(),
        key,
        step,
        body,
    };
    let body = request.body.clone();
    let (due, fault) = shared.note(request, breaches);
    if !allowed {
        return error(StatusCode::UNAUTHORIZED, "Incorrect API key provided");
    }
    if let Some(refused) = refused {
        return error(StatusCode::BAD_REQUEST, &refused);
    }
    let aside = Reply::say("A short title");
    let after = Reply::say("The script has no more replies.");
    let reply = match step {
        None => &aside,
        Some(step) => shared.replies.get(step).unwrap_or(&after),
    };
    let reply = &reply.naming(seen.job.as_ref());
    let pieces = match wire {
        Wire::Responses => responses::encode(due, reply, &tools, &body),
        Wire::Chat => chat::encode(due, reply, &tools, &body),
    };
    let pieces = deliver(pieces, reply.delivery);
    match fault {
        Some(Fault::Status(status, wait)) => failed(status, wait),
        Some(Fault::Html) => html(),
        Some(Fault::NoHeaders) => std::future::pending().await,
        fault => stream_of(break_off(pieces, fault.as_ref()), Arc::clone(twin)),
    }
}

/// Cuts the pieces of an answer as they are to be sent.
fn deliver(pieces: Vec<Piece>, delivery: Delivery) -> Vec<Piece> {
    match delivery {
        Delivery::Events => pieces,
        Delivery::Twice => pieces
            .into_iter()
            .flat_map(|one| [one.clone(), one])
            .collect(),
        Delivery::Paced(pause) => pieces
            .into_iter()
            .flat_map(|one| [Piece::Pause(pause), one])
            .collect(),
        Delivery::Bytes => pieces.into_iter().flat_map(bytewise).collect(),
        Delivery::Batches(events) => pieces.chunks(events).flat_map(batch).collect(),
    }
}

fn bytewise(piece: Piece) -> Vec<Piece> {
    match piece {
        Piece::Bytes(bytes) => (0..bytes.len())
            .map(|at| Piece::Bytes(bytes.slice(at..=at)))
            .collect(),
        other => vec![other],
    }
}

fn batch(pieces: &[Piece]) -> Vec<Piece> {
    let mut batched = Vec::new();
    let mut open = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Bytes(bytes) => open.extend_from_slice(bytes),
            other => {
                batched.push(Piece::Bytes(std::mem::take(&mut open).into()));
                batched.push(other.clone());
            }
        }
    }
    batched.push(Piece::Bytes(open.into()));
    batched
}

/// Lets an answer fail in its middle.
fn break_off(mut pieces: Vec<Piece>, fault: Option<&Fault>) -> Vec<Piece> {
    let middle = pieces.len() / 2;
    match fault {
        Some(Fault::GarbageLine) => {
            pieces.insert(
                middle,
                Piece::Bytes(Bytes::from_static(b"data: {not json\n\n")),
            );
        }
        Some(Fault::Cut) => pieces.truncate(middle),
        Some(Fault::Reset) => {
            pieces.truncate(middle);
            pieces.push(Piece::Reset);
        }
        Some(Fault::Stall) => {
            pieces.truncate(middle);
            pieces.push(Piece::Silence);
        }
        _ => {}
    }
    pieces
}

fn stream_of(pieces: Vec<Piece>, twin: Arc<TcpStream>) -> Answer {
    let frames = stream::iter(pieces).then(move |piece| {
        let twin = Arc::clone(&twin);
        async move {
            match piece {
                Piece::Bytes(bytes) => {
                    // Lets hyper write the chunk before it asks for the next.
                    tokio::task::yield_now().await;
                    Ok(Frame::data(bytes))
                }
                Piece::Hold(gate) => {
                    gate.pass().await;
                    Ok(Frame::data(Bytes::new()))
                }
                Piece::Pause(pause) => {
                    tokio::time::sleep(pause).await;
                    Ok(Frame::data(Bytes::new()))
                }
                Piece::Silence => std::future::pending().await,
                Piece::Reset => {
                    // A socket that may not linger is reset, not closed, when it is dropped.
                    let _ = rustix::net::sockopt::set_socket_linger(&*twin, Some(Duration::ZERO));
                    Err(std::io::Error::other("reset by the script"))
                }
            }
        }
    });
    // An empty frame would end a chunked body.
    let filled = frames.filter(|frame| {
        let empty = matches!(frame, Ok(frame) if frame.data_ref().is_some_and(Bytes::is_empty));
        std::future::ready(!empty)
    });
    let mut answer = Response::new(StreamBody::new(filled).boxed_unsync());
    let kind = "text/event-stream; charset=utf-8";
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    answer
}

fn failed(status: u16, wait: Option<u64>) -> Answer {
    let status = StatusCode::from_u16(status).expect("the script names a real status");
    let mut answer = error(status, "the script says so");
    if let Some(seconds) = wait {
        answer.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    answer
}

fn html() -> Answer {
    let page =
        "<!DOCTYPE html>\n<html><body><h1>Welcome to the captive portal</h1></body></html>\n";
    let mut answer = Response::new(whole(page.to_owned()));
    answer.headers_mut().insert(
        CONTENT_TYPE,
        hyper::header::HeaderValue::from_static("text/html"),
    );
    answer
}

fn error(status: StatusCode, message: &str) -> Answer {
    let kind = match status.as_u16() {
        401 => "authentication_error",
        429 => "rate_limit_error",
        400..500 => "invalid_request_error",
        _ => "server_error",
    };
    plain(
        status,
        &json!({ "error": { "message": message, "type": kind, "param": null, "code": null } }),
    )
}

fn plain(status: StatusCode, body: &Value) -> Answer {
    let mut answer = Response::new(whole(body.to_string()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(
        CONTENT_TYPE,
        hyper::header::HeaderValue::from_static("application/json"),
    );
    answer
}

fn whole(text: String) -> UnsyncBoxBody<Bytes, std::io::Error> {
    http_body_util::Full::from(text)
        .map_err(|never| match never {})
        .boxed_unsync()
}
