//! A connection that comes back, and the watch that goes on over it.
//!
//! The daemon may die at any instant; a client that has work there brings it back and goes on from
//! its cursor. It gives up when three daemons in a row brought nothing new, because then the daemon
//! itself is what fails.

use futures_util::FutureExt as _;
use quire_proto::v1::{self, SessionServiceWatchResponse as Update};
use tonic::{Status, Streaming};

use crate::{
    connect::{Connection, Host, Introduction, no_daemon},
    failure::{Failure, is_lost},
    view::{Change, View},
};

/// Daemons in a row that may die without a new event.
const BARREN_MAX: u32 = 3;

/// Most updates handed out together, so that the rest of a loop gets its turn.
const BATCH_MAX: usize = 512;

/// A connection, and how to get it again.
#[derive(Clone, Debug)]
pub struct Link {
    host: Host,
    who: Introduction,
    connection: Connection,
}

impl Link {
    /// Connects, and starts a daemon when none answers.
    ///
    /// # Errors
    ///
    /// Those of [`Connection::open`].
    pub async fn open(host: &Host, who: Introduction) -> Result<Self, Failure> {
        Ok(Self {
            host: host.clone(),
            who,
            connection: Connection::open(host, who).await?,
        })
    }

    /// The connection as it is now.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Makes the connection anew.
    ///
    /// # Errors
    ///
    /// Those of [`Connection::open`].
    pub async fn reopen(&mut self) -> Result<(), Failure> {
        self.connection = Connection::open(&self.host, self.who).await?;
        Ok(())
    }

    /// Makes a call, and makes it again on a new connection when the daemon dies under it. The call
    /// must be safe to repeat: it carries the same request id each time, or changes nothing.
    ///
    /// # Errors
    ///
    /// What the daemon answers, or that it cannot be kept alive.
    pub async fn call<T>(
        &mut self,
        call: impl AsyncFn(&Connection) -> Result<T, Status>,
    ) -> Result<T, Failure> {
        for _ in 0..BARREN_MAX {
            match call(&self.connection).await {
                Err(status) if is_lost(&status) => self.reopen().await?,
                other => return other.map_err(Failure::from),
            }
        }
        Err(keeps_dying(&self.host))
    }
}

/// A session being watched: its view, and the stream that feeds it.
#[derive(Debug)]
pub struct Watch {
    link: Link,
    session: String,
    view: View,
    stream: Option<Streaming<Update>>,
    /// Where the reader stood when the stream was opened.
    opened_at: u64,
    barren: u32,
    /// Sent to each new daemon: keys and environment live in a daemon's memory only.
    world: Option<v1::ClientWorld>,
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
            opened_at: 0,
            barren: 0,
            world: None,
        }
    }

    /// Gives `world` to every daemon that takes the session over from a dead one.
    #[must_use]
    pub fn lending(mut self, world: v1::ClientWorld) -> Self {
        self.world = Some(world);
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
            let Some(stream) = &mut self.stream else {
                continue;
            };
            match stream.message().await {
                Ok(Some(first)) => return Ok(self.drain(first)),
                Ok(None) => self.broke()?,
                Err(status) if is_lost(&status) => self.broke()?,
                Err(status) => return Err(status.into()),
            }
        }
    }

    fn drain(&mut self, first: Update) -> Vec<Update> {
        let mut batch = vec![first];
        // An error met here ends the stream; opening it again brings the error back if it stays.
        while batch.len() < BATCH_MAX
            && let Some(stream) = &mut self.stream
            && let Some(Ok(Some(update))) = stream.message().now_or_never()
        {
            batch.push(update);
        }
        batch
    }

    fn broke(&mut self) -> Result<(), Failure> {
        self.stream = None;
        let seq = self.view.cursor().seq;
        self.barren = if seq > self.opened_at {
            1
        } else {
            self.barren + 1
        };
        if self.barren < BARREN_MAX {
            Ok(())
        } else {
            Err(keeps_dying(&self.link.host))
        }
    }

    async fn open_stream(&mut self) -> Result<(), Failure> {
        if self.barren > 0 {
            self.link.reopen().await?;
            self.lend_world().await?;
        }
        let after = self.view.cursor();
        let request = v1::SessionServiceWatchRequest {
            session: self.session.clone(),
            after: (after.seq > 0).then_some(after),
            ..v1::SessionServiceWatchRequest::default()
        };
        self.opened_at = self.view.cursor().seq;
        match self.link.connection.sessions().watch(request).await {
            Ok(stream) => self.stream = Some(stream.into_inner()),
            Err(status) if is_lost(&status) => self.broke()?,
            Err(status) => return Err(status.into()),
        }
        Ok(())
    }

    /// A turn that a dead daemon left may wait for nothing but the keys in this environment.
    async fn lend_world(&mut self) -> Result<(), Failure> {
        let Some(world) = &self.world else {
            return Ok(());
        };
        let request = v1::SessionServiceUpdateRequest {
            request_id: quire_proto::id::RequestId::random().to_string(),
            session: Some(v1::Session {
                id: self.session.clone(),
                ..v1::Session::default()
            }),
            world: Some(world.clone()),
            ..v1::SessionServiceUpdateRequest::default()
        };
        match self.link.connection.sessions().update(request).await {
            Ok(_) => Ok(()),
            // The watch itself will find out and try again.
            Err(status) if is_lost(&status) => Ok(()),
            Err(status) => Err(status.into()),
        }
    }
}

fn keeps_dying(host: &Host) -> Failure {
    no_daemon(format!(
        "the daemon died {BARREN_MAX} times in a row without getting further: see `{}`",
        host.home.logs().display()
    ))
}

#[cfg(test)]
mod tests;
