//! The protocol, spoken directly: for what a test must do or see exactly, without the client.

use std::{
    future::Future,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use quire_proto::{
    CLIENT_KEY, TOKEN_KEY,
    home::{DaemonRecord, Home as Paths},
    id::RequestId,
    v1::{
        ApprovalServiceDecideRequest, ApprovalVerdict, ClientWorld, Cursor,
        DaemonServiceHelloRequest, Event, Outcome, PromptItem, PromptMode, Session,
        SessionServiceCreateRequest, SessionServiceGetRequest, SessionServiceListEventsRequest,
        SessionServiceListRequest, SessionServiceWatchRequest, SessionServiceWatchResponse,
        TurnServiceInterruptRequest, TurnServicePromptRequest, TurnServicePromptResponse,
        TurnServiceWaitRequest, TurnServiceWaitResponse,
        approval_service_client::ApprovalServiceClient, daemon_service_client::DaemonServiceClient,
        job_service_client::JobServiceClient, session_service_client::SessionServiceClient,
        turn_service_client::TurnServiceClient,
    },
};
use tokio::{runtime::Runtime, task::JoinHandle, time::timeout};
use tonic::{
    Code, Request, Status,
    metadata::AsciiMetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use crate::{
    home::{Home, KEY_VARIABLE},
    model::MockModel,
    wait::{self, PATIENCE},
};

pub use crate::view::{View, items};

/// A channel that shows the daemon's token with every call.
pub type Wire = InterceptedService<Channel, Token>;

/// The token, as an interceptor, and the client's id once it was introduced.
#[derive(Clone)]
pub struct Token {
    token: AsciiMetadataValue,
    client: Option<AsciiMetadataValue>,
}

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        metadata.insert(TOKEN_KEY, self.token.clone());
        if let Some(client) = &self.client {
            metadata.insert(CLIENT_KEY, client.clone());
        }
        Ok(request)
    }
}

/// Any request that changes something, as far as all of them are alike.
#[derive(Clone, PartialEq, prost::Message)]
struct Mutating {
    #[prost(string, tag = "1")]
    request_id: String,
}

/// Connects to the daemon that left this record; `None` when it doesn't answer.
pub async fn dial(paths: &Paths, record: &DaemonRecord) -> Option<Wire> {
    let (channel, token) = reach(paths, record).await?;
    Some(InterceptedService::new(channel, token))
}

async fn reach(paths: &Paths, record: &DaemonRecord) -> Option<(Channel, Token)> {
    let token = paths.token().ok()?.parse().ok()?;
    let address = format!("unix://{}", record.socket.display());
    let channel = Endpoint::try_from(address).ok()?.connect().await.ok()?;
    let client = None;
    Some((channel, Token { token, client }))
}

/// Connects, and says hello: from then on this client is known to the daemon.
async fn introduce(
    paths: &Paths,
    record: &DaemonRecord,
    who: DaemonServiceHelloRequest,
) -> Option<Wire> {
    let (channel, token) = reach(paths, record).await?;
    let unnamed = InterceptedService::new(channel.clone(), token.clone());
    let hello = DaemonServiceClient::new(unnamed).hello(who).await.ok()?;
    let client = hello.into_inner().client_id.parse().ok();
    Some(InterceptedService::new(channel, Token { client, ..token }))
}

/// A connection to a home's daemon, for tests that are not async themselves.
pub struct Rpc {
    runtime: Runtime,
    wire: Wire,
}

impl Rpc {
    /// Connects to the home's daemon, started first if there is none.
    ///
    /// # Panics
    ///
    /// When there is none to connect to.
    #[must_use]
    pub fn starting(home: &Home) -> Self {
        let started = home.quire(["daemon", "start"]).run();
        assert_eq!(started.code, 0, "daemon start: {}", started.stderr);
        Self::connect(home)
    }

    /// Connects to the home's living daemon.
    ///
    /// # Panics
    ///
    /// When there is none.
    #[must_use]
    pub fn connect(home: &Home) -> Self {
        wait::until_some("a daemon to connect to", || {
            home.daemon().and_then(|_| Self::at(home))
        })
    }

    /// Connects to the home's newest daemon; `None` when it doesn't answer.
    #[must_use]
    pub fn at(home: &Home) -> Option<Self> {
        Self::to(&home.paths(), &home.record()?)
    }

    /// Connects to the daemon that left this record; `None` when it doesn't answer.
    ///
    /// # Panics
    ///
    /// When the machine has no event queue left.
    #[must_use]
    pub fn to(paths: &Paths, record: &DaemonRecord) -> Option<Self> {
        let runtime = runtime();
        let wire = runtime.block_on(dial(paths, record))?;
        Some(Self { runtime, wire })
    }

    /// Connects to the home's living daemon as a client of this name.
    ///
    /// # Panics
    ///
    /// When there is none.
    #[must_use]
    pub fn introduced(home: &Home, name: &str) -> Self {
        Self::as_client(home, name, false)
    }

    /// Connects to the home's living daemon as a client that only watches.
    ///
    /// # Panics
    ///
    /// When there is none.
    #[must_use]
    pub fn observing(home: &Home) -> Self {
        Self::as_client(home, "observer", true)
    }

    fn as_client(home: &Home, name: &str, observer: bool) -> Self {
        let who = DaemonServiceHelloRequest {
            protocol: Some(quire_proto::protocol()),
            client_name: name.to_owned(),
            pid: std::process::id(),
            observer,
            ..DaemonServiceHelloRequest::default()
        };
        let runtime = runtime();
        let record = home.record().expect("a daemon has left its record");
        let wire = runtime.block_on(introduce(&home.paths(), &record, who));
        Self {
            wire: wire.expect("a daemon that answers"),
            runtime,
        }
    }

    /// Runs a call to its end.
    ///
    /// # Panics
    ///
    /// When it takes longer than [`PATIENCE`].
    pub fn wait<F: Future>(&self, call: F) -> F::Output {
        let bounded = async { timeout(PATIENCE, call).await };
        self.runtime
            .block_on(bounded)
            .unwrap_or_else(|_| panic!("a call took longer than {PATIENCE:?}"))
    }

    /// `DaemonService`.
    #[must_use]
    pub fn daemon(&self) -> DaemonServiceClient<Wire> {
        DaemonServiceClient::new(self.wire.clone())
    }

    /// `SessionService`.
    #[must_use]
    pub fn sessions(&self) -> SessionServiceClient<Wire> {
        SessionServiceClient::new(self.wire.clone())
    }

    /// `TurnService`.
    #[must_use]
    pub fn turns(&self) -> TurnServiceClient<Wire> {
        TurnServiceClient::new(self.wire.clone())
    }

    /// `ApprovalService`.
    #[must_use]
    pub fn approvals(&self) -> ApprovalServiceClient<Wire> {
        ApprovalServiceClient::new(self.wire.clone())
    }

    /// `JobService`.
    #[must_use]
    pub fn jobs(&self) -> JobServiceClient<Wire> {
        JobServiceClient::new(self.wire.clone())
    }

    /// Calls an RPC by its path with an empty request, and says how it began to answer: with `Ok`
    /// for a stream that opened.
    #[must_use]
    pub fn call_empty(&self, path: &str) -> Code {
        self.call_raw(path, Mutating::default())
    }

    /// As [`Self::call_empty`], with a request id and nothing else.
    #[must_use]
    pub fn call_mutating(&self, path: &str) -> Code {
        let request_id = RequestId::random().to_string();
        self.call_raw(path, Mutating { request_id })
    }

    fn call_raw(&self, path: &str, request: Mutating) -> Code {
        let path = path.parse().expect("an RPC has a path");
        let call = async {
            let mut grpc = tonic::client::Grpc::new(self.wire.clone());
            let ready = grpc.ready().await;
            ready.map_err(|error| Status::unavailable(error.to_string()))?;
            // Every answer can be read as a stream of messages without fields.
            let codec = tonic_prost::ProstCodec::<Mutating, ()>::default();
            let request = Request::new(request);
            let mut answer = grpc.server_streaming(request, path, codec).await?;
            let first = timeout(Duration::from_millis(500), answer.get_mut().message());
            first.await.unwrap_or(Ok(None)).map(drop)
        };
        self.wait(call)
            .map_or_else(|status| status.code(), |()| Code::Ok)
    }

    /// Calls an RPC by its path with a request of any type, right or wrong.
    ///
    /// # Errors
    ///
    /// What the daemon answers.
    pub fn call_with(
        &self,
        path: &str,
        request: impl prost::Message + 'static,
    ) -> Result<(), Status> {
        let path = path.parse().expect("an RPC has a path");
        self.wait(async {
            let mut grpc = tonic::client::Grpc::new(self.wire.clone());
            let ready = grpc.ready().await;
            ready.map_err(|error| Status::unavailable(error.to_string()))?;
            let codec = tonic_prost::ProstCodec::<_, ()>::default();
            grpc.unary(Request::new(request), path, codec).await
        })
        .map(drop)
    }

    /// Makes a session in a directory, in the world a test's client would have.
    ///
    /// # Panics
    ///
    /// When the daemon refuses.
    #[must_use]
    pub fn create(&self, home: &Home, directory: &std::path::Path) -> Session {
        let environment = [
            ("PATH", std::env::var("PATH").unwrap_or_default()),
            ("HOME", home.user().display().to_string()),
            (KEY_VARIABLE, MockModel::KEY.to_owned()),
        ];
        let request = SessionServiceCreateRequest {
            request_id: RequestId::random().to_string(),
            world: Some(ClientWorld {
                cwd: directory.display().to_string(),
                environment: environment
                    .map(|(key, value)| (key.to_owned(), value))
                    .into(),
                umask: 0o022,
            }),
            ..Default::default()
        };
        let response = self.wait(async { self.sessions().create(request).await });
        let session = response.map(|response| response.into_inner().session);
        session
            .unwrap_or_else(|status| panic!("create: {status}"))
            .expect("a session made is a session told")
    }

    /// The session as the daemon tells it now.
    ///
    /// # Panics
    ///
    /// When there is none of this name.
    #[must_use]
    pub fn session(&self, name: &str) -> Session {
        let request = SessionServiceGetRequest {
            session: name.to_owned(),
        };
        let response = self.wait(async { self.sessions().get(request).await });
        let session = response.map(|response| response.into_inner().session);
        session
            .unwrap_or_else(|status| panic!("get: {status}"))
            .expect("a session found is a session told")
    }

    /// The newest session, if there is one.
    #[must_use]
    pub fn newest(&self) -> Option<Session> {
        let request = SessionServiceListRequest::default();
        let list = self.wait(async { self.sessions().list(request).await });
        list.ok()?.into_inner().sessions.into_iter().next()
    }

    /// Sends a prompt under a request id of its own.
    ///
    /// # Panics
    ///
    /// When the daemon refuses.
    pub fn prompt(&self, session: &str, text: &str) -> TurnServicePromptResponse {
        self.prompt_as(&RequestId::random(), session, text)
            .unwrap_or_else(|status| panic!("prompt: {status}"))
    }

    /// Sends a prompt under this request id.
    ///
    /// # Errors
    ///
    /// What the daemon answers.
    pub fn prompt_as(
        &self,
        id: &RequestId,
        session: &str,
        text: &str,
    ) -> Result<TurnServicePromptResponse, Status> {
        let request = TurnServicePromptRequest {
            request_id: id.to_string(),
            session: session.to_owned(),
            prompt: Some(PromptItem {
                text: text.to_owned(),
                ..PromptItem::default()
            }),
            mode: PromptMode::Unspecified.into(),
            expected_turn: 0,
        };
        let response = self.wait(async { self.turns().prompt(request).await });
        response.map(tonic::Response::into_inner)
    }

    /// Waits until the session has nothing running, or needs a person.
    ///
    /// # Panics
    ///
    /// When it doesn't come to that in time.
    #[must_use]
    pub fn settled(&self, session: &str) -> TurnServiceWaitResponse {
        let request = TurnServiceWaitRequest {
            session: session.to_owned(),
            timeout_ms: 0,
        };
        let response = self.wait(async { self.turns().wait(request).await });
        let response = response.map(tonic::Response::into_inner);
        response.unwrap_or_else(|status| panic!("wait: {status}"))
    }

    /// Interrupts the session's turn.
    ///
    /// # Panics
    ///
    /// When the daemon refuses.
    pub fn interrupt(&self, session: &str) {
        let request = TurnServiceInterruptRequest {
            request_id: RequestId::random().to_string(),
            session: session.to_owned(),
            expected_turn: 0,
        };
        let response = self.wait(async { self.turns().interrupt(request).await });
        response.unwrap_or_else(|status| panic!("interrupt: {status}"));
    }

    /// Answers the session's only pending approval.
    ///
    /// # Errors
    ///
    /// What the daemon answers.
    pub fn decide(&self, session: &str, verdict: ApprovalVerdict) -> Result<(), Status> {
        let request = ApprovalServiceDecideRequest {
            request_id: RequestId::random().to_string(),
            session: session.to_owned(),
            approval: 0,
            verdict: verdict.into(),
            message: String::new(),
            stop: false,
        };
        let response = self.wait(async { self.approvals().decide(request).await });
        response.map(drop)
    }

    /// The session's whole log.
    ///
    /// # Panics
    ///
    /// When the daemon refuses.
    #[must_use]
    pub fn events(&self, session: &str) -> Vec<Event> {
        let request = SessionServiceListEventsRequest {
            session: session.to_owned(),
            after_seq: 0,
            page_size: 10_000,
        };
        let response = self.wait(async { self.sessions().list_events(request).await });
        let response = response.unwrap_or_else(|status| panic!("list events: {status}"));
        response.into_inner().events
    }

    /// Outcomes of all calls of a session, in the order they ended. Names work as for a command.
    ///
    /// # Panics
    ///
    /// When there is no such session.
    #[must_use]
    pub fn outcomes(&self, name: &str) -> Vec<Outcome> {
        let items = items(&self.events(&self.session(name).id)).into_iter();
        let outcomes = items.filter_map(|one| match one.kind {
            Some(quire_proto::v1::item::Kind::ToolCall(call)) => call.outcome,
            _ => None,
        });
        outcomes.collect()
    }

    /// Watches a session from a cursor; `None` is from the beginning.
    #[must_use]
    pub fn watch(&self, session: &str, after: Option<Cursor>) -> Watcher {
        self.watch_beyond(session, after, 0)
    }

    /// Watches a session from a cursor, with a snapshot in place of more events than `beyond`.
    #[must_use]
    pub fn watch_beyond(&self, session: &str, after: Option<Cursor>, beyond: u64) -> Watcher {
        let request = SessionServiceWatchRequest {
            session: session.to_owned(),
            after,
            snapshot_beyond: beyond,
            heartbeat_ms: 1_000,
        };
        let mut sessions = self.sessions();
        let seen = Arc::new((Mutex::new(View::default()), Condvar::new()));
        let writer = Arc::clone(&seen);
        let start = request.after.clone().unwrap_or_default();
        lock(&writer.0).start(&start);
        let reading = self.runtime.spawn(async move {
            let ended = match sessions.watch(request).await {
                Err(status) => status.to_string(),
                Ok(response) => follow(response.into_inner(), &writer).await,
            };
            lock(&writer.0).ended = Some(ended);
            writer.1.notify_all();
        });
        Watcher { seen, reading }
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("the machine has an event queue left")
}

async fn follow(
    mut updates: tonic::Streaming<SessionServiceWatchResponse>,
    seen: &(Mutex<View>, Condvar),
) -> String {
    loop {
        match updates.message().await {
            Ok(Some(SessionServiceWatchResponse {
                update: Some(update),
            })) => {
                lock(&seen.0).apply(update);
                seen.1.notify_all();
            }
            Ok(Some(_)) => {}
            Ok(None) => return "the daemon closed the watch".to_owned(),
            Err(status) => return status.to_string(),
        }
    }
}

/// A watch that is read as it comes. Dropping it leaves.
pub struct Watcher {
    seen: Arc<(Mutex<View>, Condvar)>,
    reading: JoinHandle<()>,
}

impl Watcher {
    /// Waits until `holds`.
    ///
    /// # Panics
    ///
    /// When it doesn't in time, or the watch ends before, or what came had a gap or a repeat.
    pub fn until(&self, what: &str, holds: impl Fn(&View) -> bool) {
        let waiting = |view: &mut View| !holds(view) && view.ended.is_none();
        let (view, _) = self
            .seen
            .1
            .wait_timeout_while(lock(&self.seen.0), PATIENCE, waiting)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(view.faults.is_empty(), "a watcher saw {:#?}", view.faults);
        assert!(
            holds(&view),
            "a watcher waited in vain for {what}; ended: {:?}; events: {:#?}",
            view.ended,
            view.events
        );
    }

    /// Waits until so many turns have ended.
    pub fn until_turns_ended(&self, count: usize) {
        self.until("the turn's end", |view| view.turns_ended() >= count);
    }

    /// What has been seen so far.
    #[must_use]
    pub fn view(&self) -> View {
        lock(&self.seen.0).clone()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

fn lock(view: &Mutex<View>) -> MutexGuard<'_, View> {
    view.lock().unwrap_or_else(PoisonError::into_inner)
}
