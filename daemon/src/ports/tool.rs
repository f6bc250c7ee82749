//! A tool that the model may use.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures_util::future::BoxFuture;
use quire_proto::{
    id::{ItemId, JobId, SessionId},
    v1::{Access, FileChange, Intent, JobEnded, JobStarted, Outcome, OutcomeStatus, Policy, item},
};

use crate::pure::{
    changed::Author,
    sample::{Call, ToolSpec},
    transcript::seen::{Fingerprint, Seen},
};

/// Where a session's tools act.
#[derive(Clone, Debug)]
pub struct Place {
    /// The session that acts.
    pub session: SessionId,
    /// Absolute; the git top level if there is one.
    pub workspace: PathBuf,
    /// Absolute; where relative paths start.
    pub cwd: PathBuf,
    /// The environment of the session's client. May hold secrets: never logged, never stored.
    pub environment: Arc<BTreeMap<String, String>>,
    /// The client's umask.
    pub umask: u32,
    /// The session's policy as it is now.
    pub policy: Arc<Policy>,
    /// What the model knows of files as the call begins.
    pub known: Known,
}

/// What is known of files: what the model has seen, and what other sessions did.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// What the model has seen.
    pub seen: Seen,
    /// Who else changes files; `None` when nobody can tell.
    pub authors: Option<Arc<dyn Authors>>,
}

/// Tells which other session changed a file.
pub trait Authors: fmt::Debug + Send + Sync {
    /// The session that found the content `before` at `path`, or left `now` there, which is `None` for no
    /// file. `None` when it was none, or none that is remembered.
    fn of(
        &self,
        path: &Path,
        before: Option<Fingerprint>,
        now: Option<Fingerprint>,
    ) -> Option<Author>;
}

/// A call that has been looked at and may now be judged.
pub struct Prepared {
    /// One line for people.
    pub title: String,
    /// What the call would touch.
    pub access: Access,
    /// What will be done, to be written down before [`act`](Self::act) is called. `None` for calls
    /// that change nothing.
    pub intent: Option<Intent>,
    /// The diff that an approval shows.
    pub preview: Vec<FileChange>,
    /// Does it.
    pub act: Act,
}

/// Carries out a prepared call. Dropping the future abandons the call; what it started is told by
/// its [`Intent`].
pub type Act = Box<dyn FnOnce(Live) -> BoxFuture<'static, Finished> + Send>;

/// What a running call is given.
#[derive(Clone)]
pub struct Live {
    /// The call's item.
    pub item: ItemId,
    /// Takes bytes of output as they come, for the people who watch. Never blocks; what watchers
    /// cannot follow is left out of the live view.
    pub output: Output,
    /// Told when a command has started.
    pub started: Arc<dyn Fn(JobStarted) + Send + Sync>,
}

/// Takes output of a running command: the byte offset of what comes, and the bytes.
pub type Output = Arc<dyn Fn(u64, &[u8]) + Send + Sync>;

/// How a call ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Finished {
    /// For the model and the log.
    pub outcome: Outcome,
    /// Further items that the call made, such as file changes or a plan.
    pub items: Vec<item::Kind>,
}

impl Finished {
    /// The tool did what was asked.
    #[must_use]
    pub fn succeeded(text: impl Into<String>) -> Self {
        Self::with_status(OutcomeStatus::Succeeded, text)
    }

    /// The tool could not do what was asked, and says why.
    #[must_use]
    pub fn failed(text: impl Into<String>) -> Self {
        Self::with_status(OutcomeStatus::Failed, text)
    }

    /// An outcome of the given status and nothing else.
    #[must_use]
    pub fn with_status(status: OutcomeStatus, text: impl Into<String>) -> Self {
        let outcome = Outcome {
            status: status.into(),
            text: text.into(),
            ..Outcome::default()
        };
        Self {
            outcome,
            items: Vec::new(),
        }
    }
}

/// Something the model may use. One value serves all sessions.
pub trait Tool: Send + Sync {
    /// How the model is offered it. The same at every call, for the provider's cache.
    fn spec(&self) -> ToolSpec;

    /// Looks at a call: what it would touch, and how to do it. Changes nothing.
    ///
    /// # Errors
    ///
    /// The outcome, when the call cannot be carried out at all, such as arguments that do not parse.
    fn prepare(&self, call: Call, place: Place) -> BoxFuture<'static, Result<Prepared, Finished>>;

    /// Finds out what came of a call whose intent was written by an earlier daemon: done, not done
    /// (then it is done now), or unknown.
    fn resume(
        &self,
        call: Call,
        intent: Intent,
        place: Place,
        live: Live,
    ) -> BoxFuture<'static, Finished>;
}

/// The jobs that calls leave running.
pub trait RunningJobs: Send + Sync {
    /// Stops the job, if it still runs. Ends when its whole process tree is dead.
    fn stop(&self, job: JobId) -> BoxFuture<'static, ()>;

    /// Removes what is kept of a job that has ended. Whatever hinders that is logged.
    fn forget(&self, job: JobId);

    /// Lets the job live on after its session, for a bounded time. Twice is as good as once.
    ///
    /// # Errors
    ///
    /// One sentence: it has ended, or too many are detached.
    fn detach(&self, job: JobId) -> BoxFuture<'static, Result<(), String>>;

    /// The newest of what the job printed, at most 2 KiB; empty when there is nothing.
    fn tail(&self, job: JobId) -> BoxFuture<'static, String>;

    /// Ends when the job has, with how; at once when it already has, or is not known.
    fn ended(&self, session: SessionId, job: JobId) -> BoxFuture<'static, JobEnded>;
}
