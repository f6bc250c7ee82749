//! All sessions of this daemon: those that live, and the way to those that sleep in the store.
//!
//! A session gets an actor when it is first needed and keeps it. What was running when the last
//! daemon ended is opened at start, so that it goes on without anyone asking; what ends in mid-work
//! because the store failed is opened again after a while.

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use quire_proto::{
    id::{RequestId, SessionId},
    v1::{
        Approval, ClientRef, Event, Item, ItemCompleted, ItemStatus, Job, JobLifetime, JobState,
        NoticeItem, NoticeLevel, Session, SessionCreated, SessionState, event::Body, item::Kind,
    },
};
use tokio::{task::JoinSet, time::Instant};

use crate::{
    adapters::{
        growing,
        store::{Encoded, Listing, Store, StoreError},
    },
    pure::transcript::Transcript,
    session::{
        self, Handle, Refusal, Surroundings, World,
        feed::{Closed, Feed},
    },
};

/// How long a session whose store failed is left alone: at first, and at most. Each failure doubles it.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How long a job of a session that is deleted may take to die.
const DYING: Duration = Duration::from_secs(15);

/// The sessions of one state directory.
pub struct Registry {
    world: World,
    living: Mutex<Living>,
    /// Held while a session is brought to life, so that it is done once.
    opening: tokio::sync::Mutex<()>,
    /// Itself, for those who watch over sessions and must not keep it alive.
    own: Weak<Registry>,
}

/// The sessions that have an actor, and whether there may be more.
#[derive(Default)]
struct Living {
    sessions: HashMap<SessionId, Handle>,
    /// How long sessions whose store failed are left alone the next time.
    pauses: HashMap<SessionId, Duration>,
    /// Sessions about to be made.
    making: u32,
    /// The daemon is about to end.
    closed: bool,
}

/// A session to be made.
#[derive(Clone, Debug, Default)]
pub struct New {
    /// Its first event.
    pub created: SessionCreated,
    /// What its people should know from the start.
    pub notices: Vec<String>,
    /// The world of its client.
    pub surroundings: Surroundings,
}

/// Why no session could be given.
#[derive(Debug, thiserror::Error)]
pub enum Missing {
    /// Nothing of that name.
    #[error("no session `{0}`: `quire ps --all` lists them")]
    NotFound(String),
    /// Several of that name.
    #[error("`{name}` may mean any of {}: give more of the id", ids.join(", "))]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// What it may mean.
        ids: Vec<String>,
    },
    /// The store cannot tell.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is going on, for those who must know whether the daemon may end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Sessions with an actor.
    pub sessions: u32,
    /// Turns begun and not ended.
    pub turns: u32,
    /// Jobs that run.
    pub jobs: u32,
    /// Prompts that wait.
    pub queued: u32,
}

impl Load {
    /// Whether anything would go on without a client.
    #[must_use]
    pub fn is_working(self) -> bool {
        self.turns + self.jobs + self.queued > 0
    }
}

impl Registry {
    /// A registry over `world`, with no session open yet.
    #[must_use]
    pub fn new(world: World) -> Arc<Self> {
        Arc::new_cyclic(|own| Self {
            world,
            living: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            own: own.clone(),
        })
    }

    /// What every session is given.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Opens every session that was not finished when the last daemon ended, or whose text was not put
    /// away yet.
    ///
    /// # Errors
    ///
    /// When the store cannot list them. A session that cannot be opened is logged and left.
    pub async fn recover(&self) -> Result<(), StoreError> {
        let mut left = self.world.store.unfinished().await?;
        left.extend(growing::kept(&self.world.growing));
        for id in left {
            if let Err(error) = self.open(&id).await {
                tracing::error!(session = %id, %error, "cannot go on with the session");
            }
        }
        Ok(())
    }

    /// Makes a session, once for each request id.
    ///
    /// # Errors
    ///
    /// What the store says; then there is no session.
    pub async fn create(
        &self,
        request: &RequestId,
        by: Option<ClientRef>,
        new: New,
    ) -> Result<Session, StoreError> {
        let New {
            created,
            notices,
            surroundings,
        } = new;
        let _making = Making::begin(self)?;
        let id = SessionId::random();
        let event = Event {
            seq: 1,
            time_ms: session::now_ms(),
            by,
            request_id: request.to_string(),
            body: Some(Body::SessionCreated(created)),
        };
        let mut transcript = Transcript::of(id.as_str());
        transcript.apply(&event);
        let mut events = Encoded::default();
        events.push(&event);
        for text in notices {
            let event = warning(&transcript, text);
            transcript.apply(&event);
            events.push(&event);
        }
        self.begin(request, events, transcript, surroundings).await
    }

    /// Makes a session of all its `events`, which add up to `transcript` and leave it at rest, once for
    /// each request id. Its name must be free.
    ///
    /// # Errors
    ///
    /// What the store says; then there is no session.
    pub async fn import(
        &self,
        request: &RequestId,
        events: Encoded,
        transcript: Transcript,
        surroundings: Surroundings,
    ) -> Result<Session, StoreError> {
        let _making = Making::begin(self)?;
        self.begin(request, events, transcript, surroundings).await
    }

    /// The session that a request made before, brought to life.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn made_by(&self, request: &RequestId) -> Result<Option<Session>, StoreError> {
        let Some(made) = self.world.store.made_by(request).await? else {
            return Ok(None);
        };
        let handle = self.open(&made).await?;
        Ok(Some(with_clients(handle.feed().summary(), &handle)))
    }

    /// The world of a session, which is not brought to life for it.
    pub async fn surroundings(&self, id: &SessionId) -> Surroundings {
        let living = self.living().sessions.get(id).cloned();
        match living {
            Some(handle) => handle.surroundings(),
            None => {
                let kept = self.world.worlds.find(id).await;
                kept.map(Surroundings::from).unwrap_or_default()
            }
        }
    }

    async fn begin(
        &self,
        request: &RequestId,
        events: Encoded,
        transcript: Transcript,
        surroundings: Surroundings,
    ) -> Result<Session, StoreError> {
        let summary = transcript.summary();
        let id: SessionId = summary
            .id
            .parse()
            .unwrap_or_else(|_none| SessionId::random());
        let (store, worlds) = (&self.world.store, &self.world.worlds);
        let kept = session::world::kept(&surroundings, &self.world.models.keys());
        // Beside each other: the store waits for the disk, and the world must be there when it has.
        let (made, ()) = tokio::join!(
            store.create_encoded(id.clone(), request, events, &summary),
            worlds.keep(&id, kept)
        );
        if !made.as_ref().is_ok_and(|made| *made == id) {
            worlds.forget(&id).await;
        }
        let made = made?;
        if made != id {
            let handle = self.open(&made).await?;
            return Ok(with_clients(handle.feed().summary(), &handle));
        }
        let handle = session::wake(
            (id.clone(), transcript),
            self.world.clone(),
            surroundings,
            false,
        );
        self.keep(handle.clone());
        self.world.board.stir(&id);
        Ok(with_clients(summary, &handle))
    }

    /// The session of that id, brought to life if it sleeps.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn open(&self, id: &SessionId) -> Result<Handle, StoreError> {
        let _opening = self.opening.lock().await;
        let known = self.living().sessions.get(id).cloned();
        let (panicked, surroundings) = match known {
            Some(handle) if !handle.is_closed() => return Ok(handle),
            Some(handle) => (
                handle.feed().closed() == Some(Closed::Panicked),
                handle.surroundings(),
            ),
            None => {
                let kept = self.world.worlds.find(id).await;
                (false, kept.map(Surroundings::from).unwrap_or_default())
            }
        };
        let transcript = session::logged(&self.world.store, id).await?;
        let world = self.world.clone();
        let handle = session::wake((id.clone(), transcript), world, surroundings, panicked);
        self.keep(handle.clone());
        Ok(handle)
    }

    /// Counts a session among the living, and sees to it that it comes back.
    fn keep(&self, handle: Handle) {
        let watching = revive(self.own.clone(), handle.id().clone(), handle.feed().clone());
        tokio::spawn(watching);
        self.living().sessions.insert(handle.id().clone(), handle);
    }

    /// How long to leave a session alone whose store failed after it lived for so long. `None` when it
    /// is not to come back.
    fn pause_after(&self, id: &SessionId, lived: Duration) -> Option<Duration> {
        let (first, most) = PAUSES;
        let mut living = self.living();
        if living.closed || !living.sessions.contains_key(id) {
            return None;
        }
        if lived > most {
            living.pauses.remove(id);
        }
        let pause = living.pauses.get(id).copied().unwrap_or(first);
        living.pauses.insert(id.clone(), most.min(pause * 2));
        Some(pause)
    }

    /// The session that `name` means.
    ///
    /// # Errors
    ///
    /// [`Missing`].
    pub async fn find(&self, name: &str) -> Result<Handle, Missing> {
        let id = self.name(name).await?;
        Ok(self.open(&id).await?)
    }

    /// The id of the session that `name` means. It is not brought to life, and may be damaged.
    ///
    /// # Errors
    ///
    /// [`Missing`].
    pub async fn name(&self, name: &str) -> Result<SessionId, Missing> {
        let found = self.world.store.find(name).await?;
        let ids: Vec<SessionId> = found
            .iter()
            .filter_map(|session| session.id.parse().ok())
            .collect();
        match ids.as_slice() {
            [] => Err(Missing::NotFound(name.to_owned())),
            [id] => Ok(id.clone()),
            several => {
                let ids = several.iter().take(5).map(ToString::to_string).collect();
                Err(Missing::Ambiguous {
                    name: name.to_owned(),
                    ids,
                })
            }
        }
    }

    /// Sessions, newest activity first, with who is attached.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn list(&self, listing: Listing) -> Result<Vec<Session>, StoreError> {
        Ok(self.seen(self.world.store.sessions(listing).await?))
    }

    /// Adds to sessions as the store tells them who is attached.
    #[must_use]
    pub fn seen(&self, sessions: Vec<Session>) -> Vec<Session> {
        let living = self.living();
        let handle_of = |session: &Session| {
            session
                .id
                .parse()
                .ok()
                .and_then(|id| living.sessions.get(&id))
        };
        let seen = sessions
            .into_iter()
            .map(|session| match handle_of(&session) {
                Some(handle) => with_clients(session, handle),
                None => session,
            });
        seen.collect()
    }

    /// Approvals that wait, over all sessions.
    ///
    /// # Errors
    ///
    /// What the store says; a session that cannot be opened is logged and left out.
    pub async fn approvals(&self) -> Result<Vec<Approval>, StoreError> {
        let waiting = self.world.store.unfinished().await?;
        let mut approvals = Vec::new();
        for id in waiting {
            match self.open(&id).await {
                Ok(handle) => approvals.extend(handle.look().await.unwrap_or_default().approvals),
                Err(error @ (StoreError::Damaged { .. } | StoreError::Missing(_))) => {
                    tracing::warn!(session = %id, %error, "its approvals are not listed");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(approvals)
    }

    /// Removes a session that does nothing. Its jobs are stopped first, but for detached ones, so that
    /// none is forgotten if the daemon ends meanwhile. Returns all jobs it ever had; `None` when the same
    /// request has removed a session before, and then nothing more is done.
    ///
    /// # Errors
    ///
    /// [`Refusal::Running`] while a turn runs, or what the store says.
    pub async fn delete(
        &self,
        handle: &Handle,
        request: &RequestId,
    ) -> Result<Option<Vec<Job>>, Refusal> {
        let _opening = self.opening.lock().await;
        if self.world.store.deletion(request).await?.is_some() {
            return Ok(None);
        }
        let looked = handle.look().await?;
        if looked.session.running_turn != 0 {
            return Err(Refusal::Running {
                turn: looked.session.running_turn,
            });
        }
        self.stop_jobs(&looked.jobs).await;
        self.world.store.delete(handle.id(), request).await?;
        self.world.worlds.forget(handle.id()).await;
        let mut living = self.living();
        living.sessions.remove(handle.id());
        living.pauses.remove(handle.id());
        drop(living);
        self.world.board.deleted(handle.id());
        handle.feed().close(Closed::Left);
        Ok(Some(looked.jobs))
    }

    /// Returns when those that end with their session are dead.
    async fn stop_jobs(&self, jobs: &[Job]) {
        let ends = |job: &&Job| {
            job.state() == JobState::Running && job.lifetime() != JobLifetime::Detached
        };
        let ids = jobs
            .iter()
            .filter(ends)
            .filter_map(|job| job.id.parse().ok());
        let mut dying: JoinSet<_> = ids
            .map(|id| tokio::time::timeout(DYING, self.world.jobs.stop(id)))
            .collect();
        while let Some(dead) = dying.join_next().await {
            if !matches!(dead, Ok(Ok(()))) {
                tracing::error!("a job of a deleted session does not die");
            }
        }
    }

    /// What is going on.
    #[must_use]
    pub fn load(&self) -> Load {
        self.living().load()
    }

    /// Refuses new sessions from now on, unless something works: then returns false and refuses
    /// nothing.
    #[must_use]
    pub fn retire(&self) -> bool {
        let mut living = self.living();
        living.closed = living.closed || (living.making == 0 && !living.load().is_working());
        living.closed
    }

    /// Refuses new sessions, and ends the watches of those there are.
    pub fn close(&self) {
        let mut living = self.living();
        living.closed = true;
        living
            .sessions
            .values()
            .for_each(|handle| handle.feed().close(Closed::Left));
    }

    /// The store's handle.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.world.store
    }

    fn living(&self) -> MutexGuard<'_, Living> {
        // Nothing under the lock can leave it half changed.
        self.living.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens a session again whose store failed while it had something to do, and again, as long as the
/// daemon lives: the store may find new ground.
async fn revive(registry: Weak<Registry>, id: SessionId, feed: Arc<Feed>) {
    let born = Instant::now();
    if feed.ended().await != Closed::Failed || !has_work(&feed.summary()) {
        return;
    }
    let lived = born.elapsed();
    loop {
        let pause = registry
            .upgrade()
            .and_then(|registry| registry.pause_after(&id, lived));
        let Some(pause) = pause else { return };
        tokio::time::sleep(pause).await;
        let Some(registry) = registry.upgrade() else {
            return;
        };
        match registry.open(&id).await {
            Ok(_) | Err(StoreError::Missing(_)) => return,
            Err(error) => tracing::debug!(session = %id, %error, "cannot go on yet"),
        }
    }
}

fn has_work(session: &Session) -> bool {
    session.running_turn != 0 || session.queued_prompts != 0 || session.running_jobs != 0
}

impl Living {
    fn load(&self) -> Load {
        let mut load = Load::default();
        for handle in self.sessions.values() {
            let session = handle.feed().summary();
            load.sessions += 1;
            load.turns +=
                u32::from(session.running_turn != 0 && session.state() != SessionState::Suspended);
            load.jobs += session.running_jobs;
            load.queued += session.queued_prompts;
        }
        load
    }
}

/// A session is being made: the daemon does not retire meanwhile.
struct Making<'a>(&'a Registry);

impl<'a> Making<'a> {
    fn begin(registry: &'a Registry) -> Result<Self, StoreError> {
        let mut living = registry.living();
        if living.closed {
            return Err(StoreError::Closed);
        }
        living.making += 1;
        drop(living);
        Ok(Self(registry))
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.0.living().making -= 1;
    }
}

/// An event that tells people something about a session that is being made.
fn warning(transcript: &Transcript, text: String) -> Event {
    let notice = NoticeItem {
        level: NoticeLevel::Warning.into(),
        text,
        for_model: false,
    };
    let now = session::now_ms();
    let item = Item {
        id: transcript.next_item().get(),
        status: ItemStatus::Completed.into(),
        started_ms: now,
        ended_ms: now,
        kind: Some(Kind::Notice(notice)),
        ..Item::default()
    };
    let body = Body::ItemCompleted(ItemCompleted { item: Some(item) });
    Event {
        seq: transcript.head() + 1,
        time_ms: now,
        body: Some(body),
        ..Event::default()
    }
}

/// A shared registry.
pub type Sessions = Arc<Registry>;

/// `session` with what is true of it at this moment only: who watches it, and whether it wants a world.
#[must_use]
pub fn with_clients(session: Session, handle: &Handle) -> Session {
    Session {
        clients: handle.feed().clients(),
        wants_world: handle.wants_world(),
        ..session
    }
}
