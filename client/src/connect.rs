//! The way to the daemon: find it, greet it, and start one when none answers.
//!
//! A [`Host`] says where; [`Connection::open`] connects first and starts a daemon only when nobody
//! answers, so that the usual command costs one connect and one call. What can go wrong on the way
//! ends as one line that says what to do, with exit code 8.

use std::{
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use quire_proto::{
    CLIENT_KEY, PROTOCOL, TOKEN_KEY,
    home::{DaemonRecord, Home},
    v1::{
        self, approval_service_client::ApprovalServiceClient,
        daemon_service_client::DaemonServiceClient, job_service_client::JobServiceClient,
        session_service_client::SessionServiceClient, turn_service_client::TurnServiceClient,
        workspace_service_client::WorkspaceServiceClient,
    },
};
use tokio::time::sleep;
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use crate::{
    failure::{Exit, Failure},
    start,
};

/// Longest wait for a daemon to answer or to get ready.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Most bytes of one message from the daemon: a snapshot of a long session is large.
const MESSAGE_MAX: usize = 256 << 20;

/// What one stream may have under way. Small, so that the daemon notices early that we are slow
/// and sends fewer, larger pieces.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// Where a daemon lives and which program it is.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its directories.
    pub home: Home,
    /// The program to start when none answers; `None` to look for it then.
    pub daemon: Option<PathBuf>,
}

/// Who a client says it is.
#[derive(Clone, Copy, Debug)]
pub struct Introduction {
    /// "tui", "exec".
    pub name: &'static str,
    /// True when it only watches: nobody waits for its approval.
    pub observer: bool,
}

/// A channel on which every call carries the token and the client's id.
pub type Line = InterceptedService<Channel, Badge>;

/// Puts the token and the client's id on every call.
#[derive(Clone, Debug)]
pub struct Badge {
    token: MetadataValue<Ascii>,
    client: Option<MetadataValue<Ascii>>,
}

impl Interceptor for Badge {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        metadata.insert(TOKEN_KEY, self.token.clone());
        if let Some(client) = &self.client {
            metadata.insert(CLIENT_KEY, client.clone());
        }
        Ok(request)
    }
}

/// A greeted daemon. Cloning shares the connection.
#[derive(Clone, Debug)]
pub struct Connection {
    line: Line,
    hello: v1::DaemonServiceHelloResponse,
}

macro_rules! clients {
    ($($(#[$doc:meta])* $name:ident: $client:ident),* $(,)?) => {
        $(
            $(#[$doc])*
            #[must_use]
            pub fn $name(&self) -> $client<Line> {
                $client::new(self.line.clone()).max_decoding_message_size(MESSAGE_MAX)
            }
        )*
    };
}

/// How long a daemon may take to make its socket again.
const FOUND_AGAIN: Duration = Duration::from_secs(5);

/// Between two looks whether it has.
const LOOK: Duration = Duration::from_millis(50);

impl Connection {
    /// Connects to the daemon of `host`; starts one when none answers. Waits at most [`PATIENCE`]
    /// for each.
    ///
    /// # Errors
    ///
    /// [`Exit::NoDaemon`] with what to do about it.
    pub async fn open(host: &Host, who: Introduction) -> Result<Self, Failure> {
        if let Some(connection) = Self::existing(&host.home, who).await? {
            return Ok(connection);
        }
        let lock = start::StartLock::take(&host.home).await?;
        // Whoever held the lock before us has most likely started one.
        if let Some(connection) = Self::existing(&host.home, who).await? {
            return Ok(connection);
        }
        let started = start::daemon(host).await;
        let mut answer = Self::existing(&host.home, who).await?;
        let held = answer.is_none() && start::is_held(&host.home, &lock)?;
        if held {
            answer = Self::found_again(&host.home, who).await?;
        }
        drop(lock);
        match (answer, started) {
            (Some(connection), _) => Ok(connection),
            (None, Err(failure)) => Err(failure),
            (None, Ok(())) => Err(no_daemon(format!(
                "the daemon ended as soon as it was ready: see `{}`",
                host.home.logs().display()
            ))),
        }
    }

    /// A daemon whose socket or record was removed makes them again within seconds. Nothing tells
    /// when, so this looks again and again.
    async fn found_again(home: &Home, who: Introduction) -> Result<Option<Self>, Failure> {
        let given_up = Instant::now() + FOUND_AGAIN;
        while Instant::now() < given_up {
            if let Some(connection) = Self::existing(home, who).await? {
                return Ok(Some(connection));
            }
            sleep(LOOK).await;
        }
        Ok(None)
    }

    /// Connects to the daemon that lives in `home`; `None` when none answers.
    ///
    /// # Errors
    ///
    /// [`Exit::NoDaemon`] when one answers that cannot be talked to.
    pub async fn existing(home: &Home, who: Introduction) -> Result<Option<Self>, Failure> {
        let Some(record) = read_record(home)? else {
            return Ok(None);
        };
        start::check_owner(&home.daemon())?;
        let Some(channel) = dial(&record.socket).await else {
            return Ok(None);
        };
        let token = match home.token() {
            Ok(token) => token,
            // It is about to be written again, or its daemon is about to end.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                let path = home.token_file();
                let message = format!("cannot read `{}`: {error}", path.display());
                return Err(no_daemon(message));
            }
        };
        let token = token.parse().map_err(|_invalid| {
            let path = home.token_file();
            no_daemon(format!(
                "`{}` holds no token: stop the daemon and remove it",
                path.display()
            ))
        })?;
        let badge = Badge {
            token,
            client: None,
        };
        let greeting = greet(channel, badge, who);
        match tokio::time::timeout(PATIENCE, greeting).await {
            Ok(Ok(connection)) => Ok(Some(connection)),
            Ok(Err(status)) => refused(&record, status),
            Err(_elapsed) => Err(no_daemon(format!(
                "the daemon (process {}) does not answer: end it with `quire daemon stop --now`",
                record.pid
            ))),
        }
    }

    clients! {
        /// The daemon itself.
        daemon: DaemonServiceClient,
        /// Sessions.
        sessions: SessionServiceClient,
        /// Turns.
        turns: TurnServiceClient,
        /// Approvals.
        approvals: ApprovalServiceClient,
        /// Jobs.
        jobs: JobServiceClient,
        /// The repository.
        workspace: WorkspaceServiceClient,
    }

    /// What the daemon said of itself.
    #[must_use]
    pub fn hello(&self) -> &v1::DaemonServiceHelloResponse {
        &self.hello
    }

    /// True when `client` is this very connection.
    #[must_use]
    pub fn is_me(&self, client: &v1::ClientRef) -> bool {
        client.id == self.hello.client_id
    }
}

pub(crate) fn no_daemon(message: impl Into<String>) -> Failure {
    Failure::new(Exit::NoDaemon, message)
}

/// `None` when no daemon ever ran here, or none whose record can be understood: a living one holds
/// the lock, and the one we start then says so.
fn read_record(home: &Home) -> Result<Option<DaemonRecord>, Failure> {
    match home.record() {
        Ok(record) => Ok(Some(record)),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::InvalidData => Ok(None),
            _ => Err(no_daemon(format!(
                "cannot read `{}`: {error}",
                home.record_file().display()
            ))),
        },
    }
}

/// `None` when nobody listens there.
async fn dial(socket: &Path) -> Option<Channel> {
    // A socket of somebody else's must not be shown our token.
    let owner = std::fs::symlink_metadata(socket).ok()?.uid();
    if owner != rustix::process::geteuid().as_raw() {
        return None;
    }
    let endpoint = Endpoint::from_shared(format!("unix://{}", socket.to_str()?)).ok()?;
    endpoint
        .connect_timeout(PATIENCE)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .connect()
        .await
        .ok()
}

async fn greet(channel: Channel, badge: Badge, who: Introduction) -> Result<Connection, Status> {
    let request = v1::DaemonServiceHelloRequest {
        protocol: Some(PROTOCOL),
        client_name: who.name.to_owned(),
        client_version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        observer: who.observer,
    };
    let line = InterceptedService::new(channel.clone(), badge.clone());
    let hello = DaemonServiceClient::new(line).hello(request).await?;
    let hello = hello.into_inner();
    let badge = Badge {
        client: hello.client_id.parse().ok(),
        ..badge
    };
    let line = InterceptedService::new(channel, badge);
    Ok(Connection { line, hello })
}

fn refused(record: &DaemonRecord, status: Status) -> Result<Option<Connection>, Failure> {
    let overlap = record.protocol_min <= PROTOCOL.max && PROTOCOL.min <= record.protocol_max;
    if !overlap {
        return Err(no_daemon(other_protocol(record)));
    }
    match status.code() {
        // It ended between our connect and our call.
        _ if crate::failure::is_lost(&status) => Ok(None),
        Code::Unauthenticated | Code::PermissionDenied => Err(no_daemon(format!(
            "the daemon (process {}) does not trust this client: {}",
            record.pid,
            status.message()
        ))),
        _ => Err(no_daemon(Failure::from(status).to_string())),
    }
}

fn other_protocol(record: &DaemonRecord) -> String {
    let ours = env!("CARGO_PKG_VERSION");
    let theirs = &record.version;
    if record.protocol_min > PROTOCOL.max {
        format!(
            "the daemon is {theirs}, newer than this client ({ours}): use the `quire` that came with it"
        )
    } else {
        format!(
            "the daemon is {theirs}, older than this client ({ours}): end it with `quire daemon stop` when its turns are done"
        )
    }
}

#[cfg(test)]
mod tests;
