//! The watch on a session, taken up again by itself whenever it breaks.
//!
//! Nothing is shown twice and nothing is missed: each new watch begins at the view's cursor. Other
//! than [`link::Watch`](crate::link::Watch), which serves commands that print, it tells that the
//! daemon is gone or silent, leaves the view to the screen, and never ends: when daemons die in a row
//! it stops starting them, and takes the one that someone else starts.

use std::{future::Future, pin::Pin, time::Duration};

use quire_proto::v1::{self, SessionServiceWatchResponse};
use tokio::time::{Instant, sleep};
use tonic::{Code, Status, Streaming};

use crate::{
    connect::{Connection, Host, Introduction},
    failure::{Failure, is_announced, is_lost},
    link::keeps_dying,
    patience::{Death, Patience, Verdict, is_news},
    told::{HEARTBEAT_MS, Silence},
};

/// Events between a cursor and now beyond which a snapshot is wanted in their place.
const SNAPSHOT_BEYOND: u64 = 5_000;

/// Between two looks for a daemon that someone else starts. Nothing tells when that happens.
const LOOK: Duration = Duration::from_secs(1);

/// What the watch told.
pub(super) enum News {
    /// An update of the session.
    Update(Box<SessionServiceWatchResponse>),
    /// The daemon is there and has said nothing for so long.
    Silent(Duration),
    /// The watch broke, and is being taken up again.
    Lost,
    /// It broke, and no daemon is started any more, for this reason.
    GivenUp(String),
    /// It has been taken up again over this connection.
    Found(Box<Connection>),
    /// It never will be.
    Over(Failure),
}

/// Whom to look for when the watch breaks, and what to watch.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// The daemon.
    pub(super) host: Host,
    /// This client.
    pub(super) who: Introduction,
    /// Id of the session.
    pub(super) session: String,
}

type Stream = Streaming<SessionServiceWatchResponse>;
type Found = Result<(Connection, Stream), Lost>;

/// Why a watch could not be begun.
enum Lost {
    /// The daemon died again.
    Broke(Status),
    /// No daemon can be had.
    NoDaemon(Failure),
    /// The daemon answered that it never will be.
    Never(Failure),
}

enum State {
    Live(Box<Stream>),
    Looking(Pin<Box<dyn Future<Output = Found> + Send>>),
}

/// The watch. See the module.
pub(super) struct Feed {
    source: Source,
    state: State,
    patience: Patience,
    silence: Silence,
    /// Since when there is this connection.
    opened: Instant,
    /// Something new came over it.
    brought_news: bool,
}

impl Feed {
    /// Begins to watch from the beginning.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from beginning.
    pub(super) async fn open(source: Source, connection: &Connection) -> Result<Self, Failure> {
        let stream = watch(connection, &source.session, None).await?;
        Ok(Self {
            source,
            state: State::Live(Box::new(stream)),
            patience: Patience::default(),
            silence: Silence::broken(),
            opened: Instant::now(),
            brought_news: false,
        })
    }

    /// What is told next; `cursor` says where the view stands. Dropping the future loses nothing.
    pub(super) async fn next(&mut self, cursor: impl Fn() -> v1::Cursor) -> News {
        match &mut self.state {
            State::Live(stream) => {
                let told = tokio::select! {
                    biased;
                    told = stream.message() => told,
                    so_long = self.silence.too_long() => return News::Silent(so_long),
                };
                self.silence = Silence::broken();
                match told {
                    Ok(Some(update)) => {
                        self.brought_news |= is_news(&update, cursor().seq);
                        News::Update(Box::new(update))
                    }
                    Ok(None) => self.lost(None, cursor()),
                    Err(status) if is_lost(&status) => self.lost(Some(&status), cursor()),
                    Err(status) => News::Over(status.into()),
                }
            }
            State::Looking(found) => match found.await {
                Ok((connection, stream)) => self.found(connection, stream),
                Err(Lost::Broke(status)) => self.lost(Some(&status), cursor()),
                Err(Lost::NoDaemon(failure)) => self.give_up(&failure, cursor()),
                Err(Lost::Never(failure)) => News::Over(failure),
            },
        }
    }

    /// Looks for the daemon again that was given up, and starts one.
    pub(super) fn again(&mut self, cursor: v1::Cursor) {
        self.patience = Patience::default();
        self.look(Duration::ZERO, cursor);
    }

    fn found(&mut self, connection: Connection, stream: Stream) -> News {
        self.state = State::Live(Box::new(stream));
        self.silence = Silence::broken();
        self.opened = Instant::now();
        News::Found(Box::new(connection))
    }

    fn lost(&mut self, status: Option<&Status>, cursor: v1::Cursor) -> News {
        let death = Death {
            brought_news: std::mem::take(&mut self.brought_news),
            lived: self.opened.elapsed(),
            announced: status.is_some_and(is_announced),
        };
        match self.patience.died(death) {
            Verdict::Again(pause) => {
                self.look(pause, cursor);
                News::Lost
            }
            Verdict::GiveUp => {
                let why = keeps_dying(&self.source.host);
                self.give_up(&why, cursor)
            }
        }
    }

    fn look(&mut self, pause: Duration, cursor: v1::Cursor) {
        // What dies before it is watched has not lived at all.
        self.opened = Instant::now();
        let source = self.source.clone();
        self.state = State::Looking(Box::pin(async move {
            sleep(pause).await;
            let connection = Connection::open(&source.host, source.who).await;
            take_up(connection.map_err(Lost::NoDaemon)?, &source, cursor).await
        }));
    }

    fn give_up(&mut self, why: &Failure, cursor: v1::Cursor) -> News {
        self.patience = Patience::default();
        let source = self.source.clone();
        self.state = State::Looking(Box::pin(async move {
            loop {
                sleep(LOOK).await;
                let found = Connection::existing(&source.host.home, source.who).await;
                if let Ok(Some(connection)) = found {
                    return take_up(connection, &source, cursor).await;
                }
            }
        }));
        News::GivenUp(why.to_string())
    }
}

async fn take_up(connection: Connection, source: &Source, cursor: v1::Cursor) -> Found {
    match watch(&connection, &source.session, Some(cursor)).await {
        Ok(stream) => Ok((connection, stream)),
        Err(status) if is_lost(&status) => Err(Lost::Broke(status)),
        Err(status) => Err(match status.code() {
            Code::NotFound | Code::InvalidArgument | Code::Unimplemented | Code::DataLoss => {
                Lost::Never(status.into())
            }
            _ => Lost::NoDaemon(status.into()),
        }),
    }
}

async fn watch(
    connection: &Connection,
    session: &str,
    after: Option<v1::Cursor>,
) -> Result<Stream, Status> {
    let request = v1::SessionServiceWatchRequest {
        session: session.to_owned(),
        after,
        snapshot_beyond: SNAPSHOT_BEYOND,
        heartbeat_ms: HEARTBEAT_MS,
    };
    let answer = connection.sessions().watch(request).await?;
    Ok(answer.into_inner())
}
