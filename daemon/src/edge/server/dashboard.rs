//! One dashboard's stream over all sessions: pulled by its reader, each session as it is when it is
//! sent.
//!
//! First what is: the pages of the store, with who is attached; then what waits and runs; then what
//! changes. Changes are noted on the board from before the first page is read, so nothing falls between.
//! Sleeping sessions are told of and not woken. A slow or frozen reader costs one small state.

use std::{collections::VecDeque, sync::Weak, time::Duration};

use futures_util::{Stream, stream};
use quire_proto::{
    id::SessionId,
    v1::{
        DaemonServiceWatchResponse, Heartbeat, Job, JobState, Session, Synced,
        daemon_service_watch_response::Update,
    },
};
use tokio::time::{Instant, sleep_until, timeout};
use tonic::{Code, Status};

use super::Services;
use crate::{
    adapters::store::Listing,
    edge::status::refuse,
    session::{
        board::{Matter, News, Onlooker},
        feed::Feed,
        now_ms,
    },
};

/// Sessions read from the store, or taken from the board, at a time.
const PAGE: u32 = 100;

/// Least time between two looks at the board, so that a flood of events costs little and comes in one
/// piece.
const PACE: Duration = Duration::from_millis(20);

/// What the stream is at.
enum Stage {
    /// Pages of the store; the next one begins after this session.
    Listing(Option<(i64, SessionId)>),
    /// What changes.
    Live,
    /// The daemon ends, as was told.
    Ending,
    /// Nothing more comes.
    Over,
}

struct Dashboard {
    services: Services,
    onlooker: Onlooker,
    stage: Stage,
    ready: VecDeque<Update>,
    heartbeat: Duration,
    /// When the board may be looked at again.
    from: Instant,
}

/// Everything over all sessions, until the caller leaves or the daemon ends.
pub(super) fn dashboard(
    services: Services,
    heartbeat: Duration,
) -> impl Stream<Item = Result<DaemonServiceWatchResponse, Status>> {
    let dashboard = Dashboard {
        onlooker: services.sessions.world().board.onlooker(),
        services,
        stage: Stage::Listing(None),
        ready: VecDeque::new(),
        heartbeat,
        from: Instant::now(),
    };
    stream::unfold(dashboard, |mut dashboard| async {
        let update = dashboard.next().await?;
        Some((update, dashboard))
    })
}

impl Dashboard {
    async fn next(&mut self) -> Option<Result<DaemonServiceWatchResponse, Status>> {
        loop {
            if let Some(update) = self.ready.pop_front() {
                let update = Some(update);
                return Some(Ok(DaemonServiceWatchResponse { update }));
            }
            let refilled = match &mut self.stage {
                Stage::Listing(after) => {
                    let after = after.take();
                    self.list(after).await
                }
                Stage::Live => self.look().await,
                Stage::Ending => Err(ending()),
                Stage::Over => return None,
            };
            if let Err(status) = refilled {
                self.stage = Stage::Over;
                return Some(Err(status));
            }
        }
    }

    /// One page of the sessions there are; after the last one what waits and runs.
    async fn list(&mut self, after: Option<(i64, SessionId)>) -> Result<(), Status> {
        let listing = Listing {
            before: after,
            ..Listing::newest(PAGE)
        };
        let sessions = self.services.sessions.list(listing).await?;
        let last = sessions
            .last()
            .and_then(|last| Some((last.active_ms, last.id.parse().ok()?)));
        let full = u32::try_from(sessions.len()).is_ok_and(|count| count == PAGE);
        self.ready.extend(sessions.into_iter().map(Update::Session));
        if full {
            self.stage = Stage::Listing(last);
            return Ok(());
        }
        for (id, feed, matters) in self.onlooker.standing() {
            // The list holds the others.
            let put_away = self.session(&id, &feed).await?;
            let put_away = put_away.filter(|session| session.archived);
            self.ready.extend(put_away.map(Update::Session));
            let matters = matters.into_iter().map(|matter| self.matter(matter));
            self.ready.extend(matters.collect::<Vec<_>>());
        }
        self.ready.push_back(Update::Synced(Synced::default()));
        self.stage = Stage::Live;
        Ok(())
    }

    /// Waits until there is something to send.
    async fn look(&mut self) -> Result<(), Status> {
        let shutdown = self.services.start.shutdown.clone();
        sleep_until(self.from).await;
        if shutdown.is_draining() {
            self.ready.push_back(Update::Draining(true));
            self.stage = Stage::Ending;
            return Ok(());
        }
        // What happens after this is seen by `changed` below.
        self.onlooker.look();
        let news = self.onlooker.next(PAGE as usize);
        if !news.is_empty() {
            self.from = Instant::now() + PACE;
            return self.take(news).await;
        }
        tokio::select! {
            biased;
            () = shutdown.draining() => {}
            changed = timeout(self.heartbeat, self.onlooker.changed()) => {
                if changed.is_err() {
                    let beat = Heartbeat { time_ms: now_ms() };
                    self.ready.push_back(Update::Heartbeat(beat));
                }
            }
        }
        Ok(())
    }

    async fn take(&mut self, news: Vec<News>) -> Result<(), Status> {
        for news in news {
            let update = match news {
                News::Session(id, feed) => self.session(&id, &feed).await?.map(Update::Session),
                News::Deleted(id) => Some(Update::SessionDeleted(id.to_string())),
                News::Matter(matter) => Some(self.matter(matter)),
                News::Lost => {
                    let message = "too many sessions were deleted since the last look: watch again";
                    return Err(refuse(Code::Unavailable, "CLOSED", message));
                }
            };
            self.ready.extend(update);
        }
        Ok(())
    }

    /// The session as it is now; `None` when there is none any more.
    async fn session(&self, id: &SessionId, feed: &Weak<Feed>) -> Result<Option<Session>, Status> {
        if let Some(feed) = feed.upgrade() {
            let clients = feed.clients();
            return Ok(Some(Session {
                clients,
                ..feed.summary()
            }));
        }
        Ok(self.services.sessions.store().session(id).await?)
    }

    fn matter(&self, matter: Matter) -> Update {
        match matter {
            Matter::Approval(approval) => Update::Approval(*approval),
            Matter::Job(job) if job.state() == JobState::Running => {
                Update::Job(self.services.as_it_stands(*job))
            }
            Matter::Job(job) => Update::JobEnded(Job { pid: 0, ..*job }),
        }
    }
}

fn ending() -> Status {
    let message = "the daemon ends: watch the next one";
    refuse(Code::Unavailable, "DRAINING", message)
}
