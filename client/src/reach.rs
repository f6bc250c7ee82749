//! A daemon that answers, not yet greeted: found by its record, shown the token.
//!
//! Enough to ask how it is and to end it, whatever protocol it speaks; for anything else it must be
//! [greeted](Reached::greet). Nothing is started here.

use std::{io, os::unix::fs::MetadataExt as _, path::Path, time::Duration};

use quire_proto::{
    CLIENT_KEY, Standing, TOKEN_KEY,
    home::{DaemonRecord, Home},
    protocol, standing,
    v1::{self, daemon_service_client::DaemonServiceClient},
    version,
};
use tokio::time::timeout;
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use crate::{
    connect::{Introduction, PATIENCE, no_daemon},
    failure::{Failure, is_broken},
    start::check_owner,
};

/// What one stream may have under way. Small, so that the daemon notices early that we are slow
/// and sends fewer, larger pieces.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

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

/// A daemon that answers. See the module.
#[derive(Clone, Debug)]
pub struct Reached {
    record: DaemonRecord,
    channel: Channel,
    badge: Badge,
}

impl Reached {
    /// Connects to the daemon that lives in `home`; `None` when none answers.
    ///
    /// # Errors
    ///
    /// [`Exit::NoDaemon`](crate::failure::Exit::NoDaemon) when its files cannot be used.
    pub async fn find(home: &Home) -> Result<Option<Self>, Failure> {
        let Some(record) = read_record(home)? else {
            return Ok(None);
        };
        check_owner(&home.daemon())?;
        let Some(channel) = dial(&record.socket).await else {
            return Ok(None);
        };
        let Some(token) = read_token(home)? else {
            return Ok(None);
        };
        let badge = Badge {
            token,
            client: None,
        };
        Ok(Some(Self {
            record,
            channel,
            badge,
        }))
    }

    /// What the daemon wrote down about itself.
    #[must_use]
    pub fn record(&self) -> &DaemonRecord {
        &self.record
    }

    /// How its protocols stand to ours.
    #[must_use]
    pub fn standing(&self) -> Standing {
        standing(self.record.protocol(), protocol())
    }

    /// The daemon itself, as an unnamed client sees it.
    #[must_use]
    pub fn daemon(&self) -> DaemonServiceClient<Line> {
        let line = InterceptedService::new(self.channel.clone(), self.badge.clone());
        DaemonServiceClient::new(line)
    }

    /// Introduces this client, waiting at most [`PATIENCE`]; `None` when the daemon ended meanwhile.
    ///
    /// # Errors
    ///
    /// [`Exit::NoDaemon`](crate::failure::Exit::NoDaemon) when it refuses or does not answer.
    pub async fn greet(
        self,
        who: Introduction,
    ) -> Result<Option<(Line, v1::DaemonServiceHelloResponse)>, Failure> {
        let request = v1::DaemonServiceHelloRequest {
            protocol: Some(protocol()),
            client_name: who.name.to_owned(),
            client_version: version().into_owned(),
            pid: std::process::id(),
            observer: who.observer,
        };
        let mut daemon = self.daemon();
        let hello = match timeout(PATIENCE, daemon.hello(request)).await {
            Ok(Ok(hello)) => hello.into_inner(),
            // It ended between our connect and our call.
            Ok(Err(status)) if is_broken(&status) => return Ok(None),
            Ok(Err(status)) => return Err(self.refused(status)),
            Err(_elapsed) => return Err(self.silent()),
        };
        let badge = Badge {
            client: hello.client_id.parse().ok(),
            ..self.badge
        };
        Ok(Some((InterceptedService::new(self.channel, badge), hello)))
    }

    fn refused(&self, status: Status) -> Failure {
        match status.code() {
            Code::Unauthenticated | Code::PermissionDenied => no_daemon(format!(
                "the daemon (process {}) does not trust this client: {}",
                self.record.pid,
                status.message()
            )),
            _ => no_daemon(Failure::from(status).to_string()),
        }
    }

    /// It is there and says nothing.
    pub(crate) fn silent(&self) -> Failure {
        no_daemon(format!(
            "the daemon (process {}) does not answer: end it with `quire daemon stop --now`",
            self.record.pid
        ))
    }
}

/// What is told while a daemon is there and says nothing.
#[must_use]
pub fn silence(pid: u32, so_long: Duration) -> String {
    let seconds = so_long.as_secs();
    format!("the daemon (process {pid}) has not answered for {seconds} s")
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

/// `None` when it is about to be written again, or its daemon is about to end.
fn read_token(home: &Home) -> Result<Option<MetadataValue<Ascii>>, Failure> {
    let path = home.token_file();
    let path = path.display();
    let token = match home.token() {
        Ok(token) => token,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(no_daemon(format!("cannot read `{path}`: {error}"))),
    };
    token.parse().map(Some).map_err(|_invalid| {
        no_daemon(format!(
            "`{path}` holds no token: stop the daemon and remove it"
        ))
    })
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
