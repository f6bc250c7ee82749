//! The way to the daemon: find it, greet it, and start one when none answers.
//!
//! A [`Host`] says where; [`Connection::open`] connects first and starts a daemon only when nobody
//! answers, so that the usual command costs one connect and one call. A daemon of another version is
//! talked to when both speak one protocol; else an older one that nobody needs is replaced, and no
//! other ever. What can go wrong on the way ends as one line that says what to do, with exit code 8.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use quire_proto::{
    Standing,
    home::Home,
    v1::{
        self, approval_service_client::ApprovalServiceClient,
        daemon_service_client::DaemonServiceClient, job_service_client::JobServiceClient,
        session_service_client::SessionServiceClient, turn_service_client::TurnServiceClient,
        workspace_service_client::WorkspaceServiceClient,
    },
};
use tokio::time::sleep;

use crate::{
    failure::{Exit, Failure},
    patience::{Patience, Verdict},
    reach::{Line, Reached},
    start::{self, NotStarted, StartLock},
    versions,
};

/// Longest wait for a daemon to answer or to get ready.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Most bytes of one message from the daemon: a snapshot of a long session is large.
const MESSAGE_MAX: usize = 256 << 20;

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

/// A greeted daemon. Cloning shares the connection.
#[derive(Clone, Debug)]
pub struct Connection {
    line: Line,
    hello: v1::DaemonServiceHelloResponse,
    /// The daemon's process.
    pid: u32,
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

/// Who was met.
enum Met {
    /// A daemon that speaks our protocol.
    One(Connection),
    /// One that is too old to be talked to.
    Older(Reached),
    Nobody,
}

impl Connection {
    /// Connects to the daemon of `host`; starts one when none answers. Waits at most [`PATIENCE`]
    /// for each, and starts at most [`MOST`](crate::patience::MOST) that end before they are ready.
    ///
    /// # Errors
    ///
    /// [`Exit::NoDaemon`] with what to do about it.
    pub async fn open(host: &Host, who: Introduction) -> Result<Self, Failure> {
        if let Met::One(connection) = Self::meet(&host.home, who).await? {
            return Ok(connection);
        }
        let lock = StartLock::take(&host.home).await?;
        // Whoever held the lock before us has most likely started one.
        match Self::meet(&host.home, who).await? {
            Met::One(connection) => return Ok(connection),
            Met::Older(reached) => versions::replace(reached, &host.home, &lock).await?,
            Met::Nobody => {}
        }
        Self::start(host, who, &lock).await
    }

    /// Starts a daemon, and another when something ended that one before it could be talked to.
    async fn start(host: &Host, who: Introduction, lock: &StartLock) -> Result<Self, Failure> {
        // Counted apart: a start that met a dying daemon's lock says nothing of how the next will do.
        let (mut patience, mut taken) = (Patience::default(), Patience::default());
        loop {
            let started = start::daemon(host).await;
            if let Some(connection) = Self::started(&host.home, who, lock).await? {
                return Ok(connection);
            }
            let (counted, why) = match started {
                Err(NotStarted::Refused(failure)) => return Err(failure),
                // It holds the lock and can't be reached; or it was dying, and has let go since.
                Err(NotStarted::Held(failure)) if start::is_held(&host.home, lock)? => {
                    return Err(failure);
                }
                Err(NotStarted::Held(failure)) => (&mut taken, failure),
                Err(NotStarted::Ended(failure)) => (&mut patience, failure),
                Ok(()) => {
                    let message = format!(
                        "the daemon ended as soon as it was ready: see `{}`",
                        host.home.logs().display()
                    );
                    (&mut patience, no_daemon(message))
                }
            };
            match counted.never_got_ready() {
                Verdict::GiveUp => return Err(why),
                Verdict::Again(pause) => sleep(pause).await,
            }
        }
    }

    /// The daemon that was just started, or the one that held the lock already.
    async fn started(
        home: &Home,
        who: Introduction,
        lock: &StartLock,
    ) -> Result<Option<Self>, Failure> {
        match Self::existing(home, who).await? {
            None => Self::found_again(home, who, lock).await,
            found => Ok(found),
        }
    }

    /// A daemon whose socket or record was removed makes them again within seconds, and one that was
    /// killed lets go of its lock a moment after its socket. Nothing tells when, so this looks again
    /// and again.
    async fn found_again(
        home: &Home,
        who: Introduction,
        lock: &StartLock,
    ) -> Result<Option<Self>, Failure> {
        let given_up = Instant::now() + FOUND_AGAIN;
        while start::is_held(home, lock)? && Instant::now() < given_up {
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
        match Self::meet(home, who).await? {
            Met::One(connection) => Ok(Some(connection)),
            Met::Older(reached) => Err(versions::too_old(&reached)),
            Met::Nobody => Ok(None),
        }
    }

    async fn meet(home: &Home, who: Introduction) -> Result<Met, Failure> {
        let Some(reached) = Reached::find(home).await? else {
            return Ok(Met::Nobody);
        };
        match reached.standing() {
            Standing::Newer => return Err(versions::too_new(&reached)),
            Standing::Older => return Ok(Met::Older(reached)),
            Standing::Overlaps => {}
        }
        let pid = reached.record().pid;
        let greeted = reached.greet(who).await?;
        Ok(greeted.map_or(Met::Nobody, |(line, hello)| {
            Met::One(Self { line, hello, pid })
        }))
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

    /// The daemon's process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What people should know of this daemon, one sentence each.
    #[must_use]
    pub fn notices(&self) -> Vec<String> {
        let version = versions::notice(&self.hello.daemon_version, &quire_proto::version());
        version
            .into_iter()
            .chain(self.hello.notices.clone())
            .collect()
    }

    /// True when `other` is a clone of this one.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.hello.client_id == other.hello.client_id
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

#[cfg(test)]
mod tests;
