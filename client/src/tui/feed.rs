//! The watch on a session, taken up again by itself whenever it breaks.
//!
//! Nothing is shown twice and nothing is missed: each new watch begins at the view's cursor. Other
//! than [`link::Watch`](crate::link::Watch), which serves commands that print, it tells that the
//! daemon is gone while it looks for it, never gives up, and leaves the view to the screen.

use std::{future::Future, pin::Pin, time::Duration};

use quire_proto::v1::{self, SessionServiceWatchResponse};
use tonic::{Code, Status, Streaming};

use crate::{
    connect::{Connection, Host, Introduction},
    failure::{Failure, is_lost},
};

/// Events between a cursor and now beyond which a snapshot is wanted in their place.
const SNAPSHOT_BEYOND: u64 = 5_000;

/// Waits before looking for the daemon again: the first at once, the last for ever after. They
/// start anew only when an event came in between, so a daemon that keeps dying is not started over
/// and over.
const WAITS_MS: [u64; 6] = [0, 50, 200, 500, 2_000, 10_000];

/// What the watch told.
pub(super) enum News {
    /// An update of the session.
    Update(Box<SessionServiceWatchResponse>),
    /// The watch broke or could not be taken up again yet, for this reason.
    Lost(String),
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

type Found = Result<(Connection, Streaming<SessionServiceWatchResponse>), Lost>;

/// Why a watch could not be begun.
enum Lost {
    /// Worth another try.
    Again(Failure),
    /// The daemon answered that it never will be.
    Never(Failure),
}

enum State {
    Live(Box<Streaming<SessionServiceWatchResponse>>),
    Looking(Pin<Box<dyn Future<Output = Found> + Send>>),
}

/// The watch. See the module.
pub(super) struct Feed {
    source: Source,
    state: State,
    /// Where the view stood when the watch was last taken up.
    seq: u64,
    /// Tries since the last new event.
    tries: usize,
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
            seq: 0,
            tries: 0,
        })
    }

    /// What is told next; `cursor` says where the view stands. Dropping the future loses nothing.
    pub(super) async fn next(&mut self, cursor: impl Fn() -> v1::Cursor) -> News {
        match &mut self.state {
            State::Live(stream) => match stream.message().await {
                Ok(Some(update)) => News::Update(Box::new(update)),
                Ok(None) => self.look(String::new(), cursor()),
                Err(status) if is_lost(&status) => self.look(String::new(), cursor()),
                Err(status) => News::Over(status.into()),
            },
            State::Looking(found) => match found.await {
                Ok((connection, stream)) => {
                    self.state = State::Live(Box::new(stream));
                    News::Found(Box::new(connection))
                }
                Err(Lost::Again(failure)) => self.look(failure.to_string(), cursor()),
                Err(Lost::Never(failure)) => News::Over(failure),
            },
        }
    }

    fn look(&mut self, why: String, cursor: v1::Cursor) -> News {
        if cursor.seq > self.seq {
            self.tries = 0;
        }
        self.seq = cursor.seq;
        let wait = WAITS_MS[self.tries.min(WAITS_MS.len() - 1)];
        self.tries += 1;
        let source = self.source.clone();
        self.state = State::Looking(Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(wait)).await;
            find(&source, cursor).await
        }));
        News::Lost(why)
    }
}

async fn find(source: &Source, cursor: v1::Cursor) -> Found {
    let connection = Connection::open(&source.host, source.who).await;
    let connection = connection.map_err(Lost::Again)?;
    match watch(&connection, &source.session, Some(cursor)).await {
        Ok(stream) => Ok((connection, stream)),
        Err(status) => Err(match status.code() {
            Code::NotFound | Code::InvalidArgument | Code::Unimplemented => {
                Lost::Never(status.into())
            }
            _ => Lost::Again(status.into()),
        }),
    }
}

async fn watch(
    connection: &Connection,
    session: &str,
    after: Option<v1::Cursor>,
) -> Result<Streaming<SessionServiceWatchResponse>, Status> {
    let request = v1::SessionServiceWatchRequest {
        session: session.to_owned(),
        after,
        snapshot_beyond: SNAPSHOT_BEYOND,
        heartbeat_ms: 0,
    };
    let answer = connection.sessions().watch(request).await?;
    Ok(answer.into_inner())
}
