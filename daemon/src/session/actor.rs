//! The loop of one session: waits, folds what happened through the turn, carries out the effects.
//!
//! Everything that is shown or done has been written down before. When the store fails, the actor
//! ends: the next one starts from what the log holds, so nothing half-done lives on.

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    time::SystemTime,
};

use futures_util::StreamExt as _;
use quire_proto::{
    id::{ItemId, JobId, SessionId},
    v1::{
        Activity, ApprovalAnswer, ApprovalDecided, ApprovalVerdict, Event, JobEnded, StopReason,
        TurnEnded, event::Body,
    },
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::{Instant, Sleep},
};

use super::{
    Handle, INBOX, Refusal, Reply, Request, Resting, Surroundings, World,
    acts::{Acts, Happened},
    board::Seat,
    feed::{Closed, Feed},
    interrupts::Interrupts,
    sharing::Sharing,
    titles::Named,
    writing::NoRoom,
};
use crate::{
    adapters::{growing::Growing, store::StoreError},
    ports::{
        model::{Asker, Deltas},
        tool::Place,
    },
    pure::{
        request::{Frame, request},
        sample::{SampleError, SampleErrorKind},
        secrets::without_keys,
        transcript::Transcript,
        turn::{
            Entry, Input, Now, Turn,
            resume::{self, Remains},
        },
    },
};

/// Starts the actor of a session from its events. A turn that was running goes on; with `panicked`
/// it is ended instead, because going on would panic again.
pub fn start(
    id: SessionId,
    world: World,
    events: &[Event],
    surroundings: Surroundings,
    panicked: bool,
) -> Handle {
    let mut transcript = Transcript::of(id.as_str());
    events.iter().for_each(|event| transcript.apply(event));
    wake((id, transcript), world, surroundings, panicked)
}

/// Starts the actor of a session from what its events add up to. See [`start`].
pub fn wake(
    (id, transcript): (SessionId, Transcript),
    world: World,
    surroundings: Surroundings,
    panicked: bool,
) -> Handle {
    let (sender, inbox) = mpsc::channel(INBOX);
    let (happened_to, happened) = mpsc::unbounded_channel();
    let seat = Seat::new(world.board.clone(), id.clone());
    let feed = Arc::new(Feed::new(transcript.summary()).seated(seat));
    world.board.enter(&id, &feed, &transcript);
    let (lent, shown) = watch::channel(surroundings.clone());
    let actor = Actor {
        growing: Growing::open(&world.growing, &id),
        acts: Acts::new(happened_to, feed.clone()),
        sharing: Sharing::new(&world.letterbox, &transcript),
        jobs: JoinSet::new(),
        dying: JoinSet::new(),
        inbox,
        deferred: VecDeque::new(),
        interrupted: Vec::new(),
        interrupts: Interrupts::default(),
        waiting: Vec::new(),
        titles: JoinSet::new(),
        paused: None,
        began: Instant::now(),
        sample: None,
        timer: None,
        turn: None,
        told: Vec::new(),
        pending: Vec::new(),
        last_error: (String::new(), String::new()),
        offsets: BTreeMap::new(),
        feed: feed.clone(),
        id: id.clone(),
        transcript,
        surroundings,
        lent,
        world,
    };
    actor.show_want();
    tokio::spawn(actor.run(happened, panicked));
    Handle {
        id,
        inbox: sender,
        feed,
        surroundings: shown,
    }
}

/// Milliseconds since the Unix epoch.
#[must_use]
pub fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

pub(super) struct Actor {
    pub(super) id: SessionId,
    pub(super) world: World,
    pub(super) transcript: Transcript,
    pub(super) surroundings: Surroundings,
    /// The same, for those who look at it from outside.
    pub(super) lent: watch::Sender<Surroundings>,
    pub(super) turn: Option<Turn>,
    pub(super) feed: Arc<Feed>,
    pub(super) inbox: mpsc::Receiver<Request>,
    /// Requests that came while nothing could be written, to be seen to first.
    pub(super) deferred: VecDeque<Request>,
    /// Those who wait for the end of this turn.
    pub(super) interrupted: Vec<(u64, Reply<u64>)>,
    pub(super) interrupts: Interrupts,
    pub(super) waiting: Vec<Reply<Resting>>,
    /// Newest failure of a turn: sentence and kind.
    pub(super) last_error: (String, String),
    pub(super) growing: Growing,
    /// Bytes written down of each growing item.
    pub(super) offsets: BTreeMap<ItemId, u64>,
    pub(super) acts: Acts,
    /// What it shares with other sessions.
    pub(super) sharing: Sharing,
    /// Ends of jobs that run.
    pub(super) jobs: JoinSet<JobEnded>,
    /// Jobs that are being stopped because what they lived with is over.
    pub(super) dying: JoinSet<()>,
    /// A title that is being made.
    pub(super) titles: JoinSet<Option<Named>>,
    /// The answer that is being read.
    pub(super) sample: Option<Deltas>,
    pub(super) timer: Option<Pin<Box<Sleep>>>,
    /// Jobs whose end and whole output the log tells, once a barrier has made it safe.
    pub(super) told: Vec<JobId>,
    /// Events decided and not yet written.
    pub(super) pending: Vec<Entry>,
    /// What was said to be going on, while nothing can be written down.
    pub(super) paused: Option<Activity>,
    /// When the steady clock began.
    began: Instant,
}

/// Something could not be written down; the actor must end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot keep the text of a growing item: {0}")]
    Growing(#[from] std::io::Error),
    #[error("its events cannot be written, as the caller was told")]
    Told,
    #[error("nobody needs it any more")]
    Left,
}

impl Ended {
    /// Whether the write was refused for want of room: then nothing has changed.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Store(StoreError::Full))
    }
}

impl From<Ended> for Refusal {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Store(error) => Self::Store(error),
            Ended::Growing(_) | Ended::Told | Ended::Left => Self::Closed,
        }
    }
}

impl Actor {
    async fn run(mut self, happened: mpsc::UnboundedReceiver<Happened>, panicked: bool) {
        let closing = Closing(self.feed.clone());
        let done = match self.take_over(panicked).await {
            Ok(()) => {
                self.notify_of_waiting();
                self.live(happened).await
            }
            Err(error) => Err(error),
        };
        match done {
            Ok(()) | Err(Ended::Left) => {}
            Err(error) => {
                tracing::error!(session = %self.id, %error, "the session stops");
                closing.0.close(Closed::Failed);
            }
        }
    }

    /// Lives until nobody needs the session any more.
    async fn live(&mut self, mut happened: mpsc::UnboundedReceiver<Happened>) -> Result<(), Ended> {
        loop {
            tokio::select! {
                biased;
                request = next_request(&mut self.deferred, &mut self.inbox) => match request {
                    Some(request) => self.handle(request).await,
                    None => return Ok(()),
                },
                Some(Happened::Started(job)) = happened.recv() => self.job_started(job).await,
                Some(input) = self.acts.next() => self.advance(input).await,
                Some(Ok(ended)) = self.jobs.join_next() => self.job_ended(ended).await,
                Some(Ok(named)) = self.titles.join_next() => self.title_made(named).await,
                Some(_dead) = self.dying.join_next() => self.rest().await,
                input = next_of(&mut self.sample) => self.advance(input).await,
                () = rung(&mut self.timer) => {
                    self.timer = None;
                    self.advance(Input::Waited).await
                }
            }?;
        }
    }

    /// Makes the log whole after another daemon's end, and goes on with what it left.
    async fn take_over(&mut self, panicked: bool) -> Result<(), Ended> {
        let grown = self.growing.recover()?.into_iter();
        let grown = grown
            .map(|(item, bytes)| (item, String::from_utf8_lossy(&bytes).into_owned()))
            .collect();
        self.follow_jobs();
        let Some(turn) = self.transcript.running_turn().filter(|_| !panicked) else {
            return self.take_over_idle().await;
        };
        let remains = Remains {
            turn,
            grown,
            max_samples: self.world.max_samples,
            now: self.now(),
        };
        let (turn, effects) = Turn::resume(&self.transcript, &remains);
        let ended = turn.has_ended();
        self.turn = (!ended).then_some(turn);
        self.carry_out(effects, NoRoom::Wait).await?;
        self.growing.clear()?;
        self.stop_outlived();
        self.ask_for_title();
        if ended { self.rest().await } else { Ok(()) }
    }

    /// No turn goes on: none ran, or one that must not.
    async fn take_over_idle(&mut self) -> Result<(), Ended> {
        if let Some(lost) = self.transcript.lost_at_end() {
            let notice = self.notice(resume::loss(&lost));
            self.pending.push(notice.into());
        }
        if let Some(turn) = self.transcript.running_turn() {
            let asked: Vec<u64> = self
                .transcript
                .pending_approvals()
                .map(|one| one.id)
                .collect();
            let withdrawn = asked.into_iter().map(|id| withdrawn(id).into());
            self.pending.extend(withdrawn);
            let ended = TurnEnded {
                turn: turn.get(),
                stop_reason: StopReason::Internal.into(),
                error: "quire itself failed in this turn; the daemon's log says where".to_owned(),
                error_kind: "internal".to_owned(),
                usage: None,
            };
            self.pending.push(Body::TurnEnded(ended).into());
        }
        self.write(NoRoom::Wait).await?;
        self.growing.clear()?;
        self.stop_outlived();
        self.rest().await
    }

    /// Folds one input through the running turn.
    pub(super) async fn advance(&mut self, input: Input) -> Result<(), Ended> {
        self.advance_or(NoRoom::Wait, input).await
    }

    /// Folds one input through the running turn. When its first event is refused for want of room, the
    /// turn is as before.
    pub(super) async fn advance_or(&mut self, no_room: NoRoom, input: Input) -> Result<(), Ended> {
        let Some(mut turn) = self.turn.take() else {
            return Ok(());
        };
        let before = (no_room == NoRoom::Refuse).then(|| turn.clone());
        let effects = turn.step(&self.transcript, self.now(), input);
        let ended = turn.has_ended();
        self.turn = (!ended).then_some(turn);
        if let Err(error) = self.carry_out(effects, no_room).await {
            if error.is_refusal() {
                self.turn = before;
            }
            return Err(error);
        }
        if ended {
            self.timer = None;
            self.offsets.clear();
            self.growing.remove()?;
            self.stop_outlived();
            self.rest().await?;
        }
        self.answer_waiting();
        Ok(())
    }

    /// Once nothing is left of a turn that ended: answers those who wait for that, and begins the next.
    pub(super) async fn rest(&mut self) -> Result<(), Ended> {
        if !self.dying.is_empty() {
            return Ok(());
        }
        let running = self.turn.as_ref().map(|turn| turn.id().get());
        for (turn, to) in self
            .interrupted
            .extract_if(.., |(turn, _)| Some(*turn) != running)
        {
            reply(to, Ok(turn));
        }
        if self.turn.is_none() {
            self.begin_queued().await?;
        }
        self.answer_waiting();
        Ok(())
    }

    pub(super) fn now(&self) -> Now {
        Now {
            wall_ms: now_ms(),
            steady: self.began.elapsed(),
        }
    }

    /// Begins a turn with the first prompt that waits.
    pub(super) async fn begin_queued(&mut self) -> Result<(), Ended> {
        if let Some(prompt) = self.transcript.queue().first().cloned() {
            self.begin(prompt, NoRoom::Wait).await?;
        }
        Ok(())
    }

    /// Where tools act.
    pub(super) fn place(&self) -> Place {
        Place {
            session: self.id.clone(),
            workspace: PathBuf::from(self.transcript.workspace()),
            cwd: PathBuf::from(self.transcript.cwd()),
            environment: without_keys(&self.surroundings.environment, &self.world.models.keys()),
            umask: self.surroundings.umask,
            policy: Arc::new(self.transcript.policy()),
            known: self.known(),
        }
    }

    /// One sample: the model is opened and asked when the stream is first polled.
    pub(super) fn ask(&mut self) -> Deltas {
        let full_model = self.transcript.model().to_owned();
        let frame = Frame {
            full_model: &full_model,
            cache_key: self.id.as_str(),
            instructions: &self.world.instructions,
            tools: self.world.tools.iter().map(|tool| tool.spec()).collect(),
        };
        let mut request = request(&self.transcript, frame);
        let asker = Asker {
            workspace: PathBuf::from(self.transcript.workspace()),
            environment: self.surroundings.environment.clone(),
        };
        let opened = self.world.models.open(full_model, asker);
        let answer = async move {
            match opened.await {
                Ok(opened) => {
                    request.model = opened.name;
                    request.reasoning_effort = opened.reasoning_effort;
                    request.max_output_tokens = opened.max_output_tokens;
                    opened.model.sample(request)
                }
                Err(error) => futures_util::stream::iter([Err(error)]).boxed(),
            }
        };
        futures_util::stream::once(answer).flatten().boxed()
    }
}

/// Nobody is asked any more: quire failed in the turn.
fn withdrawn(id: u64) -> Body {
    let answer = ApprovalAnswer {
        verdict: ApprovalVerdict::Deny.into(),
        message: "quire itself failed in this turn".to_owned(),
        decided_ms: now_ms(),
        automatic: true,
        ..ApprovalAnswer::default()
    };
    Body::ApprovalDecided(ApprovalDecided {
        id,
        answer: Some(answer),
    })
}

async fn next_request(
    deferred: &mut VecDeque<Request>,
    inbox: &mut mpsc::Receiver<Request>,
) -> Option<Request> {
    match deferred.pop_front() {
        Some(request) => Some(request),
        None => inbox.recv().await,
    }
}

/// The next piece of the answer, for ever when none is read. A stream that ends without saying so
/// was cut.
async fn next_of(sample: &mut Option<Deltas>) -> Input {
    let Some(deltas) = sample else {
        return std::future::pending().await;
    };
    let error = match deltas.next().await {
        Some(Ok(deltas)) => return Input::Deltas(deltas),
        Some(Err(error)) => error,
        None => SampleError::new(SampleErrorKind::Cut, "the answer ended before it was whole"),
    };
    *sample = None;
    Input::SampleFailed {
        error,
        dice: dice(),
    }
}

fn dice() -> u32 {
    let mut bytes = [0; 4];
    // Without randomness the wait is the middle of its range.
    let random = getrandom::fill(&mut bytes).map(|()| u32::from_le_bytes(bytes));
    random.unwrap_or(u32::MAX / 2)
}

async fn rung(timer: &mut Option<Pin<Box<Sleep>>>) {
    match timer {
        Some(sleep) => sleep.await,
        None => std::future::pending().await,
    }
}

/// Tells watchers that the actor is gone, however it ends.
struct Closing(Arc<Feed>);

impl Drop for Closing {
    fn drop(&mut self) {
        let how = if std::thread::panicking() {
            Closed::Panicked
        } else {
            Closed::Left
        };
        self.0.close(how);
    }
}

/// Answers a request, whose caller may have left.
pub(super) fn reply<T>(to: oneshot::Sender<Result<T, Refusal>>, answer: Result<T, Refusal>) {
    let _gone = to.send(answer);
}
