//! What goes into a turn and what comes out of it.

use std::time::Duration;

use quire_proto::{
    id::{ApprovalId, ItemId},
    v1::{
        Access, ActivityKind, ApprovalAnswer, ClientRef, FileChange, Intent, NoticeItem, Outcome,
        PromptItem, QueuedPrompt, Rule, event::Body, item,
    },
};

use crate::pure::sample::{Call, Delta, SampleError};

/// The time, by two clocks: one may jump, the other only runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since the Unix epoch, for people. Set back and forth; nothing is measured by it.
    pub wall_ms: i64,
    /// Since some moment before the turn began. Every duration is measured by it.
    pub steady: Duration,
}

/// What a tool says about a call before it runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Look {
    /// One line for people.
    pub title: String,
    /// What it would touch.
    pub access: Access,
    /// What it will do, when it changes anything.
    pub intent: Option<Intent>,
    /// The diff that an approval shows.
    pub preview: Vec<FileChange>,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    /// For the model and the log.
    pub outcome: Outcome,
    /// Further items that the call made.
    pub items: Vec<item::Kind>,
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// The model wrote more.
    Deltas(Vec<Delta>),
    /// The sample brought no whole answer. `dice` draws the wait before the next.
    SampleFailed {
        /// Why.
        error: SampleError,
        /// Any random number.
        dice: u32,
    },
    /// The wait asked for by [`Effect::Later`] is over.
    Waited,
    /// A tool has looked at a call; or the call cannot be carried out and has ended.
    Prepared {
        /// The call's item.
        item: ItemId,
        /// What the tool said.
        look: Result<Look, Ending>,
    },
    /// Someone answered an approval.
    Decided {
        /// The approval, known to be pending.
        approval: ApprovalId,
        /// The answer, `by` included.
        answer: ApprovalAnswer,
        /// The request it came with.
        request_id: String,
    },
    /// A call has ended.
    Finished {
        /// The call's item.
        item: ItemId,
        /// How.
        ending: Ending,
    },
    /// Someone wants the turn to end.
    Interrupt {
        /// Who.
        by: Option<ClientRef>,
        /// The request it came with.
        request_id: String,
    },
    /// A person or a client sends a suspended turn on.
    Continue,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Write an event down. Neighbours go into one commit.
    Append(Box<Entry>),
    /// Show more of a growing item, once it is safe.
    Grow {
        /// The item, started by an event before.
        item: ItemId,
        /// What comes next.
        text: String,
    },
    /// Ask the model, with the transcript as it is now.
    Sample,
    /// Close the connection to the model. Dropped, not just told: a late delta must not come.
    StopSample,
    /// Feed [`Input::Waited`] after this long.
    Later(Duration),
    /// Let the tool look at a call.
    Prepare {
        /// The call's item.
        item: ItemId,
        /// What the model wrote.
        call: Call,
    },
    /// Carry out the call that was prepared last under this item.
    Act {
        /// The call's item.
        item: ItemId,
    },
    /// Find out what came of a call that an earlier daemon began, and bring it to its end.
    Resume {
        /// The call's item.
        item: ItemId,
        /// What the model wrote.
        call: Call,
        /// What the earlier daemon promised.
        intent: Intent,
    },
    /// Stop what a call runs. It still ends by [`Input::Finished`].
    Stop {
        /// The call's item.
        item: ItemId,
    },
    /// Keep a rule that a person wants always, beyond the session.
    SaveRule(Rule),
    /// Tell watchers what is waited for.
    Activity(ActivityKind, String),
}

/// One event to be, without seq and time.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What happened.
    pub body: Body,
    /// Who caused it.
    pub by: Option<ClientRef>,
    /// The request it came with; empty for none.
    pub request_id: String,
}

impl Effect {
    /// Writes an event down.
    pub fn append(entry: impl Into<Entry>) -> Self {
        Self::Append(Box::new(entry.into()))
    }
}

impl From<Body> for Entry {
    fn from(body: Body) -> Self {
        Self {
            body,
            by: None,
            request_id: String::new(),
        }
    }
}

/// How a turn begins.
#[derive(Clone, Debug)]
pub struct Beginning {
    /// The prompt, with who sent it.
    pub prompt: QueuedPrompt,
    /// Told to the model before the prompt: environment and instructions of the repository, when
    /// they were not told before.
    pub preamble: Option<String>,
    /// What happened to the workspace since the model was last asked. Comes before the prompt.
    pub news: Vec<NoticeItem>,
    /// Ends of background jobs that the model was not told of yet. They come before the prompt.
    pub ends: Vec<PromptItem>,
    /// Most requests to the model.
    pub max_samples: u64,
    /// The time.
    pub now: Now,
}
