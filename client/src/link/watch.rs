//! The watch of a session that goes on over the deaths of daemons, printing nothing twice: each new
//! stream begins at the view's cursor.

use std::time::Duration;

use futures_util::FutureExt as _;
use quire_proto::v1::{
    self, SessionServiceWatchResponse as Update, session_service_watch_response::Update as Told,
};
use tokio::time::Instant;
use tonic::{Status, Streaming};

use super::Link;
use crate::{
    connect::Connection,
    failure::{Failure, is_lost},
    patience::is_news,
    reach,
    told::{HEARTBEAT_MS, Silence, say},
    view::{Change, View},
    world,
};

/// Most updates handed out together, so that the rest of a loop gets its turn.
const BATCH_MAX: usize = 512;

/// A session being watched: its view, and the stream that feeds it.
#[derive(Debug)]
pub struct Watch {
    link: Link,
    session: String,
    view: View,
    stream: Option<Streaming<Update>>,
    /// How the stream ended, when updates that came before are still to be handed out.
    ended: Option<Result<Option<Update>, Status>>,
    /// From when on a new connection may be made; `None` while there is one.
    broken: Option<Instant>,
    silence: Silence,
    /// People are told when the daemon is silent.
    tells_silence: bool,
    /// Given to each daemon that asks for it: keys live in a daemon's memory only.
    world: Option<v1::ClientWorld>,
    ask: Ask,
}

/// Whether this connection's daemon wants this client's world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    /// It has not asked.
    None,
    Asked,
    /// It has been given: once is enough, or one that lacks what is wanted would be given for ever.
    Answered,
}

impl Watch {
    /// Watches `session` from its beginning.
    #[must_use]
    pub fn from_start(link: Link, session: String) -> Self {
        Self::new(link, session, View::default())
    }

    /// Watches `session` from the state it was told to be in.
    #[must_use]
    pub fn from_now(link: Link, session: v1::Session) -> Self {
        Self::new(link, session.id.clone(), View::at(session))
    }

    fn new(link: Link, session: String, view: View) -> Self {
        Self {
            link,
            session,
            view,
            stream: None,
            ended: None,
            broken: None,
            silence: Silence::broken(),
            tells_silence: false,
            world: None,
            ask: Ask::None,
        }
    }

    /// Gives `world` to every daemon that asks for it.
    #[must_use]
    pub fn lending(mut self, world: v1::ClientWorld) -> Self {
        self.world = Some(world);
        self
    }

    /// Says on standard error when the daemon says nothing for long.
    #[must_use]
    pub fn telling_silence(mut self, tells: bool) -> Self {
        self.tells_silence = tells;
        self
    }

    /// What has been applied.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Ends the watch and keeps what was seen.
    #[must_use]
    pub fn into_view(self) -> View {
        self.view
    }

    /// The connection under the watch.
    #[must_use]
    pub fn link(&mut self) -> &mut Link {
        &mut self.link
    }

    /// The session watched.
    #[must_use]
    pub fn session(&self) -> &str {
        &self.session
    }

    /// Applies one update of [`next`](Self::next).
    pub fn apply(&mut self, update: &Update) -> Vec<Change> {
        self.view.apply(update)
    }

    /// Waits for updates and returns all that came together, never none. They are not yet applied.
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// What the daemon answers, or that it cannot be kept alive.
    pub async fn next(&mut self) -> Result<Vec<Update>, Failure> {
        loop {
            if self.stream.is_none() {
                self.open_stream().await?;
            }
            if self.ask == Ask::Asked {
                self.lend_world().await;
            }
            let Some(stream) = &mut self.stream else {
                continue;
            };
            let told = match self.ended.take() {
                Some(end) => end,
                None => tokio::select! {
                    biased;
                    told = stream.message() => told,
                    so_long = self.silence.too_long() => {
                        self.tell_silence(so_long);
                        continue;
                    }
                },
            };
            match told {
                Ok(Some(first)) => return Ok(self.drain(first)),
                Ok(None) => self.broke(None)?,
                Err(status) if is_lost(&status) => self.broke(Some(&status))?,
                Err(status) => return Err(status.into()),
            }
        }
    }

    /// Makes a call that may take as long as the session works, and makes it again over the deaths of
    /// daemons. What the session does meanwhile tells a daemon that gets on from one that only dies.
    ///
    /// # Errors
    ///
    /// What the daemon answers, or that it cannot be kept alive.
    pub async fn beside<T>(
        &mut self,
        call: impl AsyncFn(&Connection) -> Result<T, Status>,
    ) -> Result<T, Failure> {
        loop {
            let connection = self.link.connection.clone();
            let mut answer = std::pin::pin!(call(&connection));
            let mut lost = false;
            loop {
                tokio::select! {
                    biased;
                    answer = &mut answer, if !lost => match answer {
                        Err(status) if is_lost(&status) => lost = true,
                        other => return other.map_err(Failure::from),
                    },
                    updates = self.next() => {
                        for update in updates? {
                            self.apply(&update);
                        }
                        // The watch goes on, so the call can be made again.
                        if lost || !self.link.connection.is(&connection) {
                            break;
                        }
                    }
                }
            }
        }
    }

    fn tell_silence(&self, so_long: Duration) {
        if self.tells_silence {
            say(&reach::silence(self.link.connection.pid(), so_long));
        }
    }

    fn drain(&mut self, first: Update) -> Vec<Update> {
        self.silence = Silence::broken();
        let mut batch = vec![first];
        while batch.len() < BATCH_MAX
            && let Some(stream) = &mut self.stream
            && let Some(told) = stream.message().now_or_never()
        {
            match told {
                Ok(Some(update)) => batch.push(update),
                end => {
                    self.ended = Some(end);
                    break;
                }
            }
        }
        let seq = self.view.cursor().seq;
        if batch.iter().any(|update| is_news(update, seq)) {
            self.link.got_news();
        }
        let asks = |update: &Update| matches!(update.update, Some(Told::WorldWanted(_)));
        if self.ask == Ask::None && batch.iter().any(asks) {
            self.ask = Ask::Asked;
        }
        batch
    }

    fn broke(&mut self, status: Option<&Status>) -> Result<(), Failure> {
        self.stream = None;
        self.broken = Some(self.link.broke(status)?);
        Ok(())
    }

    async fn open_stream(&mut self) -> Result<(), Failure> {
        if let Some(from) = self.broken {
            self.link.reopen(from).await?;
            self.broken = None;
            self.ask = Ask::None;
        }
        let after = self.view.cursor();
        let request = v1::SessionServiceWatchRequest {
            session: self.session.clone(),
            after: (after.seq > 0).then_some(after),
            heartbeat_ms: HEARTBEAT_MS,
            ..v1::SessionServiceWatchRequest::default()
        };
        match self.link.connection.sessions().watch(request).await {
            Ok(stream) => self.stream = Some(stream.into_inner()),
            Err(status) if is_lost(&status) => self.broke(Some(&status))?,
            Err(status) => return Err(status.into()),
        }
        self.silence = Silence::broken();
        Ok(())
    }

    /// Whatever hinders it costs no more than the keys, and the session tells when it lacks those.
    async fn lend_world(&mut self) {
        if let Some(world) = self.world.clone() {
            let request = world::lending(&self.session, world);
            let _given = self.link.connection.sessions().update(request).await;
        }
        // Not before: whoever drops this future drops the call with it.
        self.ask = Ask::Answered;
    }
}
