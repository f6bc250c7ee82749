//! The daemon's life: claim the state directory, listen, tell who waits, serve, drain, leave nothing.
//!
//! In this order, so that a failure leaves nothing half-made and a client that finds the record finds a
//! daemon: paths checked, directories, lock, log, store, socket, token, [`Engine`] opened, record,
//! `ready`. The end goes the other way: record and socket first, then the engine settles, open calls
//! end, the store is closed, and the lock falls with the process.
//!
//! Nothing here knows what is served; that is [`Served`], made by the one who calls [`serve`].

mod bare;
mod directory;
mod error;
mod identity;
mod idle;
mod inspection;
mod lock;
mod logs;
mod notices;
mod peers;
mod process;
mod routes;
mod shutdown;
mod socket;

use std::{io, process::ExitCode, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, future::BoxFuture};
use quire_proto::{home::Home, v1};
use tokio::{net::UnixListener, sync::mpsc, task::JoinHandle, time};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;

pub use error::StartError;
pub use identity::Instance;
use identity::{Files, Token};
use lock::Lock;
pub use notices::Notices;
use notices::follow;
pub use peers::{Connections, Peer, peer};
pub use routes::{Route, Routes};
pub use shutdown::ShutdownHandle;
use socket::Socket;

use crate::adapters::store::{self, Store};

/// Largest message a server should take, in bytes; for `max_decoding_message_size`. A prompt of 4 MiB, and
/// what stands around it.
pub const MESSAGE_MAX: usize = (4 << 20) + (64 << 10);

/// Calls that one connection may have open.
const STREAMS_MAX: u32 = 256;

/// Room for what one call sends ahead of being read.
const STREAM_WINDOW: u32 = 256 << 10;

/// Bytes of all headers of one call; ours have a few hundred.
const HEADERS_MAX: u32 = 16 << 10;

/// Calls that a client may take back before they are looked at, and that may be refused because it breaks
/// the rules of HTTP/2. One more, and its connection is closed.
const RESETS_MAX: (usize, usize) = (20, 256);

/// How long open calls may go on when everything else has settled.
const GRACE: Duration = Duration::from_millis(500);

/// Between two looks whether the state directory and the socket are still there.
const LOOK: Duration = Duration::from_secs(2);

/// Where the daemon runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In a session of its own, without a terminal. How clients start it.
    Background,
    /// As started, logging to stderr too. For people and for supervisors.
    Foreground,
}

/// What there is when the engine opens.
#[derive(Clone)]
pub struct Start {
    /// The directories; made and checked.
    pub home: Home,
    /// The event store. Closed after the engine has drained.
    pub store: Store,
    /// Who this daemon is.
    pub instance: Instance,
    /// Asks for the end, and tells of it.
    pub shutdown: ShutdownHandle,
    /// The processes connected.
    pub connections: Connections,
    /// What people should know of this daemon.
    pub notices: Notices,
}

/// What the daemon serves.
pub struct Served {
    /// The gRPC services, but for health and reflection, which are always there.
    pub routes: Routes,
    /// What must be asked before the daemon may end.
    pub engine: Arc<dyn Engine>,
    /// The daemon ends after so long without connection or work; zero means never.
    pub idle_exit: Duration,
}

/// What works behind the services, as far as the daemon's life depends on it.
pub trait Engine: Send + Sync + 'static {
    /// True while a turn, a job or a queued prompt needs the daemon.
    fn busy(&self) -> bool;

    /// Refuses new work from now on, unless some needs the daemon: then returns false and refuses
    /// nothing. One step, so that no session is made between the look and the end.
    fn retire(&self) -> bool;

    /// Refuses new work, and ends when nothing more will be written. Turns are left as they are, for the
    /// next daemon to go on with.
    fn drain(&self) -> BoxFuture<'static, ()>;
}

/// Lives one daemon's life. `open` makes what is served; an error of its is one sentence.
///
/// Says `ready`, or `error: ` and a sentence, on stdout. The exit code is 0 after a drain.
pub fn serve<Open>(mode: Mode, open: Open) -> ExitCode
where
    Open: AsyncFnOnce(Start) -> Result<Served, String>,
{
    let readiness = process::Readiness::new(mode);
    match live(mode, &readiness, open) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let sentence = error::sentence(&error);
            tracing::error!(error = sentence, "not started");
            readiness.failed(&sentence);
            ExitCode::FAILURE
        }
    }
}

fn live<Open>(mode: Mode, readiness: &process::Readiness, open: Open) -> Result<(), StartError>
where
    Open: AsyncFnOnce(Start) -> Result<Served, String>,
{
    process::harden();
    process::detach(mode).map_err(StartError::System)?;
    let home = Home::find()?;
    home.check()?;
    directory::make_all(&home)?;
    // Dropped last: the next daemon must not start before this one has left.
    let lock = Lock::take(&home)?;
    logs::start(&home.logs(), mode)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(32)
        .thread_stack_size(1 << 20)
        .enable_all()
        .build()
        .map_err(StartError::System)?;
    let result = runtime.block_on(async {
        let opened = Opened::new(home, open).await?;
        opened.run(&lock, readiness).await
    });
    // What still runs was told to end, and hung.
    runtime.shutdown_timeout(GRACE);
    result
}

/// A daemon that could serve now.
struct Opened {
    start: Start,
    served: Served,
    token: Token,
    // Their files go in this order, should the daemon not get to run.
    files: Files,
    socket: Socket,
    /// Connections, whichever socket they came to.
    arrivals: mpsc::Sender<io::Result<peers::Connection>>,
    /// Taken by the server.
    arriving: Option<mpsc::Receiver<io::Result<peers::Connection>>>,
}

/// Connections that may wait for the server.
const ARRIVALS: usize = 16;

impl Opened {
    async fn new<Open>(home: Home, open: Open) -> Result<Self, StartError>
    where
        Open: AsyncFnOnce(Start) -> Result<Served, String>,
    {
        let shutdown = ShutdownHandle::new();
        shutdown.listen_to_signals().map_err(StartError::System)?;
        let files = Files::clear(&home);
        let store::Opened {
            store,
            notices: found,
        } = Store::open(&home.database())?;
        let notices = Notices::default();
        found.into_iter().for_each(|notice| notices.add(notice));
        tokio::spawn(follow(store.health(), notices.clone(), shutdown.clone()));
        let socket = socket::listen(&home)?;
        let token = files.write_token()?;
        let start = Start {
            instance: Instance::new(&socket.path)?,
            home,
            store,
            shutdown,
            connections: Connections::default(),
            notices,
        };
        let served = open(start.clone()).await.map_err(StartError::Open)?;
        let (arrivals, arriving) = mpsc::channel(ARRIVALS);
        Ok(Self {
            start,
            served,
            token,
            files,
            socket,
            arrivals,
            arriving: Some(arriving),
        })
    }

    async fn run(mut self, lock: &Lock, readiness: &process::Readiness) -> Result<(), StartError> {
        let server = self.spawn_server()?;
        self.files.write_record(&self.start.instance)?;
        let Start {
            instance, shutdown, ..
        } = &self.start;
        tracing::info!(
            pid = instance.pid,
            version = %quire_proto::version(),
            "ready"
        );
        readiness.ready();
        let inspection = inspection::run(self.start.store.clone(), self.start.notices.clone());
        tokio::spawn(inspection);

        let engine = self.served.engine.clone();
        let connections = self.start.connections.clone();
        let idle = idle::wait(&*engine, &connections, self.served.idle_exit);
        let shutdown = shutdown.clone();
        tokio::select! {
            () = shutdown.draining() => {}
            () = idle => shutdown.drain("nobody needs the daemon"),
            () = self.stay_found(lock) => shutdown.drain("the state directory is gone"),
        }
        self.end(server).await;
        Ok(())
    }

    /// Makes socket, record and token again when someone removes them, as logind does with a runtime
    /// directory at the last logout. Returns when the state directory itself was removed.
    async fn stay_found(&mut self, lock: &Lock) {
        while lock.holds() {
            if let Err(error) = self.check_found() {
                let error = error::sentence(&error);
                tracing::error!(error, "clients cannot find the daemon");
            }
            time::sleep(LOOK).await;
        }
    }

    fn check_found(&mut self) -> Result<(), StartError> {
        if !self.socket.is_there() {
            tracing::warn!(path = %self.socket.path.display(), "the socket is gone: another is made");
            self.socket.replace(socket::listen(&self.start.home)?);
            self.start.instance.socket.clone_from(&self.socket.path);
            self.open_door()?;
        }
        self.files.keep(&self.start.instance, &self.token)
    }

    /// Nobody new comes; who is here may finish; what was written is on disk.
    async fn end(self, server: JoinHandle<Result<(), tonic::transport::Error>>) {
        self.files.remove();
        self.socket.remove();
        let shutdown = &self.start.shutdown;
        tokio::select! {
            () = self.served.engine.drain() => {}
            () = shutdown.ending() => {}
        }
        match time::timeout(GRACE, server).await {
            Ok(Ok(Ok(()))) => {}
            Ok(failed) => tracing::error!(?failed, "the server failed"),
            Err(_deadline) => tracing::info!("calls were cut that did not end by themselves"),
        }
        if let Err(error) = self.start.store.close().await {
            tracing::error!(error = error::sentence(&error), "the store did not close");
        }
        tracing::info!("ended");
    }

    fn spawn_server(
        &mut self,
    ) -> Result<JoinHandle<Result<(), tonic::transport::Error>>, StartError> {
        let (health, health_server) = tonic_health::server::health_reporter();
        let reflection = reflection().map_err(StartError::System)?;
        let routes = std::mem::take(&mut self.served.routes)
            .add_service(health_server)
            .add_service(reflection.0)
            .add_service(reflection.1)
            .guarded_by(self.token.clone());
        self.open_door()?;
        let incoming = self.arriving.take().map(ReceiverStream::new);
        let incoming = incoming.ok_or_else(|| io::Error::other("the daemon serves already"));
        let incoming = incoming.map_err(StartError::System)?;
        let shutdown = self.start.shutdown.clone();
        let draining = async move {
            shutdown.draining().await;
            let status = tonic_health::ServingStatus::NotServing;
            health.set_service_status("", status).await;
        };
        let server = Server::builder()
            .max_concurrent_streams(STREAMS_MAX)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(4 * STREAM_WINDOW)
            .http2_max_header_list_size(HEADERS_MAX)
            .http2_max_pending_accept_reset_streams(Some(RESETS_MAX.0))
            .http2_max_local_error_reset_streams(Some(RESETS_MAX.1));
        let serving = server.serve_with_incoming_shutdown(routes, incoming, draining);
        Ok(tokio::spawn(serving))
    }

    /// Lets in who comes to the socket.
    fn open_door(&mut self) -> Result<(), StartError> {
        let listener = self.listener().map_err(StartError::System)?;
        let coming = peers::accept(listener, self.start.connections.clone());
        let arrivals = self.arrivals.clone();
        tokio::spawn(async move {
            let mut coming = std::pin::pin!(coming);
            while let Some(connection) = coming.next().await {
                if arrivals.send(connection).await.is_err() {
                    return;
                }
            }
        });
        Ok(())
    }

    fn listener(&mut self) -> io::Result<UnixListener> {
        let taken = io::Error::other("the socket serves already");
        let listener = self.socket.listener.take().ok_or(taken)?;
        listener.set_nonblocking(true)?;
        UnixListener::from_std(listener)
    }
}

/// The schema for tools that ask for it, in both versions of the protocol for that.
fn reflection() -> io::Result<(
    impl Route + tonic::server::NamedService,
    impl Route + tonic::server::NamedService,
)> {
    let schema = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(v1::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let v1 = schema().build_v1().map_err(io::Error::other)?;
    let v1alpha = schema().build_v1alpha().map_err(io::Error::other)?;
    Ok((v1, v1alpha))
}
