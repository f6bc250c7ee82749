//! A connection that comes back.
//!
//! The daemon may die at any instant; a client that has work there brings it back, and makes the call
//! again that it died under. [`Patience`] says when that leads nowhere. A daemon that is there and
//! says nothing is waited for, and people are told. A [`Watch`] goes on over such connections.

use tokio::time::{Instant, sleep_until};
use tonic::Status;

use crate::{
    connect::{Connection, Host, Introduction, no_daemon},
    failure::{Failure, is_announced, is_lost},
    patience::{Death, MOST, Patience, Verdict},
    told::{Told, patiently},
};

mod overlook;
mod watch;

pub use overlook::{Overlook, Sight};
pub use watch::Watch;

/// A connection, and how to get it again.
#[derive(Clone, Debug)]
pub struct Link {
    host: Host,
    who: Introduction,
    connection: Connection,
    told: Told,
    patience: Patience,
    /// Since when there is this connection.
    opened: Instant,
    /// Something new came over it.
    brought_news: bool,
}

impl Link {
    /// Connects, and starts a daemon when none answers. Tells the daemon's notices.
    ///
    /// # Errors
    ///
    /// Those of [`Connection::open`].
    pub async fn open(host: &Host, who: Introduction) -> Result<Self, Failure> {
        let link = Self::for_screen(host, who).await?;
        link.told.tell(link.connection.notices());
        Ok(link)
    }

    /// As [`open`](Self::open), for a screen, which shows the notices itself.
    ///
    /// # Errors
    ///
    /// Those of [`Connection::open`].
    pub async fn for_screen(host: &Host, who: Introduction) -> Result<Self, Failure> {
        Ok(Self {
            host: host.clone(),
            who,
            connection: Connection::open(host, who).await?,
            told: Told::default(),
            patience: Patience::default(),
            opened: Instant::now(),
            brought_news: false,
        })
    }

    /// Where the daemon lives.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The connection as it is now.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Something came that was not known before: the daemon gets on.
    pub fn got_news(&mut self) {
        self.brought_news = true;
    }

    /// Takes in that the connection broke, as `status` says, and tells from when on another may be made.
    ///
    /// # Errors
    ///
    /// When daemons die in a row without getting further.
    pub fn broke(&mut self, status: Option<&Status>) -> Result<Instant, Failure> {
        let death = Death {
            brought_news: std::mem::take(&mut self.brought_news),
            lived: self.opened.elapsed(),
            announced: status.is_some_and(is_announced),
        };
        match self.patience.died(death) {
            Verdict::Again(pause) => Ok(Instant::now() + pause),
            Verdict::GiveUp => Err(keeps_dying(&self.host)),
        }
    }

    /// Makes the connection anew, not before `from`.
    ///
    /// # Errors
    ///
    /// Those of [`Connection::open`].
    pub async fn reopen(&mut self, from: Instant) -> Result<(), Failure> {
        sleep_until(from).await;
        self.connection = Connection::open(&self.host, self.who).await?;
        self.opened = Instant::now();
        self.told.tell(self.connection.notices());
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
        loop {
            let answer = patiently(self.connection.pid(), call(&self.connection)).await;
            match answer {
                Err(status) if is_lost(&status) => {
                    let from = self.broke(Some(&status))?;
                    self.reopen(from).await?;
                }
                other => {
                    self.got_news();
                    return other.map_err(Failure::from);
                }
            }
        }
    }
}

impl Link {
    /// Makes a call that would act again if it were made again: so it is made once.
    ///
    /// # Errors
    ///
    /// What the daemon answers, or that nobody knows whether it acted, with where to `look`.
    pub async fn call_once<T>(
        &mut self,
        call: impl AsyncFnOnce(&Connection) -> Result<T, Status>,
        look: &str,
    ) -> Result<T, Failure> {
        match patiently(self.connection.pid(), call(&self.connection)).await {
            Err(status) if is_lost(&status) => Err(no_daemon(format!(
                "the daemon ended meanwhile, so nobody knows whether this was done: {look}"
            ))),
            answer => answer.map_err(Failure::from),
        }
    }
}

/// Why a daemon is not brought back any more.
#[must_use]
pub fn keeps_dying(host: &Host) -> Failure {
    no_daemon(format!(
        "the daemon died {MOST} times in a row without getting further: see `{}`",
        host.home.logs().display()
    ))
}

#[cfg(test)]
mod tests;
