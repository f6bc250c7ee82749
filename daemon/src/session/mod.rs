//! One session: an actor that alone owns its state and alone writes its events.
//!
//! The outside talks to it by [`Handle`]; the actor folds what happens through the pure turn and
//! carries out the effects. It never decides anything that the turn could decide.

mod actor;
mod acts;
pub mod board;
mod effects;
pub mod feed;
mod inbox;
mod interrupts;
mod jobs;
pub mod letterbox;
mod news;
mod queue;
mod refusal;
mod sharing;
#[cfg(test)]
pub(crate) mod tests;
mod titles;
pub mod world;
mod writing;

use std::{path::PathBuf, sync::Arc};

use futures_util::future::BoxFuture;
use quire_proto::{
    id::{JobId, SessionId},
    v1::{
        Approval, ApprovalAnswer, ClientRef, FileChange, Job, Policy, PromptItem, PromptMode,
        QueuedPrompt, Rule, Session, StopReason,
    },
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    adapters::{
        store::{Store, StoreError},
        worlds::Worlds,
    },
    ports::{
        model::Models,
        tool::{Place, RunningJobs, Tool},
    },
    pure::{
        news::News,
        transcript::{Answer, Further, Piece},
    },
};
pub use actor::{now_ms, start, wake};
use board::Board;
use feed::Feed;
use letterbox::Letterbox;
pub use queue::QueueChange;
pub use refusal::Running;
pub use world::{Held, Lending, Lent, Surroundings};
pub use writing::{history, logged};

/// Requests that may wait for an actor; more wait at the door.
const INBOX: usize = 64;

/// What every session needs of the world.
#[derive(Clone)]
pub struct World {
    /// Where events go.
    pub store: Store,
    /// Directory for the text of growing items.
    pub growing: PathBuf,
    /// What the disk keeps of clients' worlds.
    pub worlds: Worlds,
    /// Where models come from.
    pub models: Arc<dyn Models>,
    /// What models may use, in the order they are offered.
    pub tools: Arc<[Arc<dyn Tool>]>,
    /// Jobs that calls leave running.
    pub jobs: Arc<dyn RunningJobs>,
    /// Where sessions tell each other what they changed.
    pub letterbox: Letterbox,
    /// Writes what the model is told before the first prompt.
    pub briefing: Arc<dyn Fn(Place) -> BoxFuture<'static, String> + Send + Sync>,
    /// Adds a rule to the user's configuration; the error is a sentence.
    pub save_rule: SaveRule,
    /// Tells the user's own program that someone is needed, or could look.
    pub notify: Notify,
    /// What is told to those who look over all sessions.
    pub board: Board,
    /// The system prompt.
    pub instructions: Arc<str>,
    /// Most requests to the model in one turn.
    pub max_samples: u64,
}

/// Keeps a rule; the error is a sentence.
pub type SaveRule = Arc<dyn Fn(&Rule) -> Result<(), String> + Send + Sync>;

/// Tells the user's own program; never blocks, and whatever goes wrong is logged.
pub type Notify = Arc<dyn Fn(News) + Send + Sync>;

/// Who asks, and by which request.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// The client, when it introduced itself.
    pub by: Option<ClientRef>,
    /// Empty when the call changes nothing.
    pub request_id: String,
}

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// A turn runs and the request wants none to.
    #[error("{}", .0.busy())]
    Busy(Running),
    /// Another turn than the one expected runs, or none, or it is being interrupted.
    #[error("{}", running.instead_of(*expected))]
    OtherTurn {
        /// What the caller expected.
        expected: u64,
        /// What runs.
        running: Running,
    },
    /// The approval has an answer.
    #[error("{}", refusal::already(approval, *newest))]
    Answered {
        /// With its answer.
        approval: Box<Approval>,
        /// Whether the caller named none, and this is the newest.
        newest: bool,
    },
    /// There is no such approval, or none was ever asked for.
    #[error("{}", refusal::nothing_to_answer(*number, pending))]
    NoApproval {
        /// What the caller named; 0 for the only one.
        number: u64,
        /// Those that wait.
        pending: Vec<Approval>,
    },
    /// Several approvals are pending and none was named.
    #[error("{}", refusal::several(.0))]
    ManyApprovals(Vec<Approval>),
    /// "Always" was answered where no rule could say it safely.
    #[error("no rule can be made of this call: approve it once, or deny it")]
    NoRule,
    /// A turn runs, and what was asked wants none to.
    #[error("turn {turn} is running: interrupt it first")]
    Running {
        /// The running turn.
        turn: u64,
    },
    /// The prompt is not in the queue.
    #[error("that prompt is not in the queue any more")]
    NotQueued,
    /// Nobody said the prompt, so nobody can say it otherwise.
    #[error("that prompt tells how a job ended: it can be moved or removed, not edited")]
    NotSaid,
    /// The prompt was to stand before itself.
    #[error("a prompt cannot stand before itself")]
    BeforeItself,
    /// There is no such job in this session.
    #[error("this session has no job `{0}`")]
    NoJob(JobId),
    /// The job cannot be detached; the sentence says why.
    #[error("{0}")]
    NotDetached(String),
    /// The event could not be written; nothing happened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The session's actor ended before it answered.
    #[error("the session was closed while it worked on the request: send it again")]
    Closed,
}

type Reply<T> = oneshot::Sender<Result<T, Refusal>>;

/// What a session can be asked for.
enum Request {
    Prompt {
        caller: Caller,
        saying: Saying,
        reply: Reply<Answer>,
    },
    ChangeQueued {
        caller: Caller,
        change: QueueChange,
        reply: Reply<Vec<QueuedPrompt>>,
    },
    Unqueue {
        caller: Caller,
        prompt: String,
        reply: Reply<()>,
    },
    Interrupt {
        caller: Caller,
        expected_turn: u64,
        reply: Reply<u64>,
    },
    Decide {
        caller: Caller,
        approval: u64,
        answer: ApprovalAnswer,
        reply: Reply<Approval>,
    },
    Change {
        caller: Caller,
        change: Change,
        reply: Reply<Session>,
    },
    Detach {
        caller: Caller,
        job: JobId,
        reply: Reply<Job>,
    },
    Wait {
        reply: Reply<Resting>,
    },
    Look {
        reply: Reply<Looked>,
    },
    Piece {
        further: Option<Further>,
        reply: Reply<Piece>,
    },
    Told {
        job: String,
        reply: Reply<Option<String>>,
    },
}

/// Something said to the agent, and under which conditions.
#[derive(Clone, Debug, Default)]
pub struct Saying {
    /// What is said.
    pub prompt: PromptItem,
    /// When it takes effect; unspecified steers.
    pub mode: PromptMode,
    /// When not 0: only if this turn is running.
    pub expected_turn: u64,
}

/// Properties of a session to be changed; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// A name for people.
    pub title: Option<String>,
    /// "provider/model", known to exist.
    pub model: Option<String>,
    /// The whole policy.
    pub policy: Option<Policy>,
    /// Hidden from lists.
    pub archived: Option<bool>,
    /// A client's world.
    pub world: Option<Lent>,
    /// Sends a suspended turn on, whatever it waits for.
    pub sends_on: bool,
}

/// A session that waits for nobody but people.
#[derive(Clone, Debug, Default)]
pub struct Resting {
    /// The newest turn; 0 for none.
    pub turn: u64,
    /// How it ended; unspecified while it waits.
    pub stop_reason: StopReason,
    /// Whether an approval is pending.
    pub needs_approval: bool,
    /// Whether the turn waits to be sent on; `error` then says why.
    pub suspended: bool,
    /// The newest failure, as in `TurnEnded`.
    pub error: String,
    /// Its kind, as in `TurnEnded`.
    pub error_kind: String,
}

/// What lists show.
#[derive(Clone, Debug, Default)]
pub struct Looked {
    /// Without who is attached.
    pub session: Session,
    /// Oldest first.
    pub approvals: Vec<Approval>,
    /// In order.
    pub queue: Vec<QueuedPrompt>,
    /// Ever started, by id.
    pub jobs: Vec<Job>,
    /// Files changed, with the turn that did, oldest first.
    pub changes: Vec<(u64, Vec<FileChange>)>,
}

/// Talks to one session. Cheap to clone; the actor ends when the last one is dropped and nothing
/// runs.
#[derive(Clone)]
pub struct Handle {
    id: SessionId,
    inbox: mpsc::Sender<Request>,
    feed: Arc<Feed>,
    surroundings: watch::Receiver<Surroundings>,
}

impl Handle {
    /// The session's name.
    #[must_use]
    pub fn id(&self) -> &SessionId {
        &self.id
    }

    /// What watchers read.
    #[must_use]
    pub fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    /// Whether the actor has ended; a new one must be started from the store.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inbox.is_closed()
    }

    /// Says something to the agent. Durable when it returns.
    ///
    /// # Errors
    ///
    /// [`Refusal::Busy`], [`Refusal::OtherTurn`], [`Refusal::Store`].
    pub async fn prompt(
        &self,
        caller: Caller,
        prompt: PromptItem,
        mode: PromptMode,
        expected_turn: u64,
    ) -> Result<Answer, Refusal> {
        let saying = Saying {
            prompt,
            mode,
            expected_turn,
        };
        self.ask(|reply| Request::Prompt {
            caller,
            saying,
            reply,
        })
        .await
    }

    /// Edits or moves a prompt that waits; returns the queue as it is then. Durable when it returns.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotQueued`], [`Refusal::NotSaid`], [`Refusal::BeforeItself`], [`Refusal::Store`].
    pub async fn change_queued(
        &self,
        caller: Caller,
        change: QueueChange,
    ) -> Result<Vec<QueuedPrompt>, Refusal> {
        self.ask(|reply| Request::ChangeQueued {
            caller,
            change,
            reply,
        })
        .await
    }

    /// Takes a prompt out of the queue.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotQueued`], [`Refusal::Store`].
    pub async fn unqueue(&self, caller: Caller, prompt: String) -> Result<(), Refusal> {
        self.ask(|reply| Request::Unqueue {
            caller,
            prompt,
            reply,
        })
        .await
    }

    /// Ends the running turn; returns its number when its tools are dead, 0 when none ran.
    ///
    /// # Errors
    ///
    /// [`Refusal::OtherTurn`], [`Refusal::Store`].
    pub async fn interrupt(&self, caller: Caller, expected_turn: u64) -> Result<u64, Refusal> {
        self.ask(|reply| Request::Interrupt {
            caller,
            expected_turn,
            reply,
        })
        .await
    }

    /// Answers an approval; 0 names the only pending one.
    ///
    /// # Errors
    ///
    /// [`Refusal::Answered`], [`Refusal::NoApproval`], [`Refusal::ManyApprovals`], [`Refusal::Store`].
    pub async fn decide(
        &self,
        caller: Caller,
        approval: u64,
        answer: ApprovalAnswer,
    ) -> Result<Approval, Refusal> {
        self.ask(|reply| Request::Decide {
            caller,
            approval,
            answer,
            reply,
        })
        .await
    }

    /// Changes properties.
    ///
    /// # Errors
    ///
    /// [`Refusal::Store`].
    pub async fn change(&self, caller: Caller, change: Change) -> Result<Session, Refusal> {
        self.ask(|reply| Request::Change {
            caller,
            change,
            reply,
        })
        .await
    }

    /// Lets a job go on after its session, for a bounded time.
    ///
    /// # Errors
    ///
    /// [`Refusal::NoJob`], [`Refusal::NotDetached`], [`Refusal::Store`].
    pub async fn detach(&self, caller: Caller, job: JobId) -> Result<Job, Refusal> {
        self.ask(|reply| Request::Detach { caller, job, reply })
            .await
    }

    /// Returns when the session has no running turn and an empty queue, or waits for a person.
    ///
    /// # Errors
    ///
    /// [`Refusal::Closed`].
    pub async fn wait(&self) -> Result<Resting, Refusal> {
        self.ask(|reply| Request::Wait { reply }).await
    }

    /// The session as it is now.
    ///
    /// # Errors
    ///
    /// [`Refusal::Closed`].
    pub async fn look(&self) -> Result<Looked, Refusal> {
        self.ask(|reply| Request::Look { reply }).await
    }

    /// A piece of a snapshot of the session: the first, of how it is now, or the one that `further` names.
    ///
    /// # Errors
    ///
    /// [`Refusal::Closed`].
    pub async fn piece(&self, further: Option<Further>) -> Result<Piece, Refusal> {
        self.ask(|reply| Request::Piece { further, reply }).await
    }

    /// What an ended job printed, if the log tells all of it.
    ///
    /// # Errors
    ///
    /// [`Refusal::Closed`].
    pub async fn told_output(&self, job: &JobId) -> Result<Option<String>, Refusal> {
        let job = job.to_string();
        self.ask(|reply| Request::Told { job, reply }).await
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.inbox
            .send(request(reply))
            .await
            .map_err(|_| Refusal::Closed)?;
        answer.await.map_err(|_| Refusal::Closed)?
    }
}
