//! The watch over all sessions that goes on over the deaths of daemons. It has no cursor: each new stream
//! begins with all there is, and [`Sight::Begins`] says so.

use std::time::Duration;

use futures_util::FutureExt as _;
use quire_proto::v1::{
    DaemonServiceWatchRequest, DaemonServiceWatchResponse, daemon_service_watch_response::Update,
};
use tokio::time::{Instant, sleep_until};
use tonic::{Status, Streaming};

use super::keeps_dying;
use crate::{
    connect::{Connection, Host, Introduction},
    failure::{Failure, is_announced, is_lost},
    patience::{Death, Patience, Verdict},
    told::{HEARTBEAT_MS, Silence},
};

/// Most updates handed out together, so that the rest of a loop gets its turn.
const BATCH_MAX: usize = 512;

/// What is seen next.
#[derive(Clone, Debug)]
pub enum Sight {
    /// A stream begins over this connection: what was told before holds no more.
    Begins(Box<Connection>),
    /// What it tells, in order.
    Updates(Vec<Update>),
    /// The daemon is there and has said nothing for so long.
    Silent(Duration),
    /// The daemon is gone, and is looked for.
    Lost,
}

/// A watch over all sessions. See the module.
#[derive(Debug)]
pub struct Overlook {
    host: Host,
    who: Introduction,
    connection: Option<Connection>,
    stream: Option<Streaming<DaemonServiceWatchResponse>>,
    /// How the stream ended, when updates that came before are still to be handed out.
    ended: Option<Result<Option<DaemonServiceWatchResponse>, Status>>,
    /// From when on a new connection may be made.
    from: Instant,
    patience: Patience,
    opened: Instant,
    /// All there was has been told; what comes now is news.
    synced: bool,
    brought_news: bool,
    silence: Silence,
}

impl Overlook {
    /// Looks over the sessions of the daemon of `host`, over `connection` at first.
    #[must_use]
    pub fn new(host: Host, who: Introduction, connection: Connection) -> Self {
        Self {
            host,
            who,
            connection: Some(connection),
            stream: None,
            ended: None,
            from: Instant::now(),
            patience: Patience::default(),
            opened: Instant::now(),
            synced: false,
            brought_news: false,
            silence: Silence::broken(),
        }
    }

    /// Waits for what is seen next.
    ///
    /// # Errors
    ///
    /// What the daemon answers, or that it cannot be kept alive.
    pub async fn next(&mut self) -> Result<Sight, Failure> {
        let Some(stream) = &mut self.stream else {
            return self.begin().await;
        };
        let told = match self.ended.take() {
            Some(end) => end,
            None => tokio::select! {
                biased;
                told = stream.message() => told,
                so_long = self.silence.too_long() => return Ok(Sight::Silent(so_long)),
            },
        };
        self.silence = Silence::broken();
        match told {
            Ok(Some(first)) => Ok(Sight::Updates(self.drain(first))),
            Ok(None) => self.lost(None),
            Err(status) if is_lost(&status) => self.lost(Some(&status)),
            Err(status) => Err(status.into()),
        }
    }

    async fn begin(&mut self) -> Result<Sight, Failure> {
        sleep_until(self.from).await;
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(&self.host, self.who).await?,
        };
        self.opened = Instant::now();
        let request = DaemonServiceWatchRequest {
            heartbeat_ms: HEARTBEAT_MS,
        };
        match connection.daemon().watch(request).await {
            Ok(stream) => self.stream = Some(stream.into_inner()),
            Err(status) if is_lost(&status) => return self.lost(Some(&status)),
            Err(status) => return Err(status.into()),
        }
        self.silence = Silence::broken();
        Ok(Sight::Begins(Box::new(connection)))
    }

    fn drain(&mut self, first: DaemonServiceWatchResponse) -> Vec<Update> {
        let mut batch = Vec::new();
        self.take(first, &mut batch);
        while batch.len() < BATCH_MAX
            && let Some(stream) = &mut self.stream
            && let Some(told) = stream.message().now_or_never()
        {
            match told {
                Ok(Some(update)) => self.take(update, &mut batch),
                end => {
                    self.ended = Some(end);
                    break;
                }
            }
        }
        batch
    }

    fn take(&mut self, told: DaemonServiceWatchResponse, batch: &mut Vec<Update>) {
        let Some(update) = told.update else { return };
        match &update {
            Update::Synced(_) => self.synced = true,
            Update::Heartbeat(_) | Update::Draining(_) => {}
            _ => self.brought_news |= self.synced,
        }
        batch.push(update);
    }

    fn lost(&mut self, status: Option<&Status>) -> Result<Sight, Failure> {
        let death = Death {
            brought_news: std::mem::take(&mut self.brought_news),
            lived: self.opened.elapsed(),
            announced: status.is_some_and(is_announced),
        };
        self.stream = None;
        self.synced = false;
        match self.patience.died(death) {
            Verdict::Again(pause) => self.from = Instant::now() + pause,
            Verdict::GiveUp => return Err(keeps_dying(&self.host)),
        }
        Ok(Sight::Lost)
    }
}
