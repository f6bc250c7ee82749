//! What a dashboard shows beneath a session: an approval that waits, a job that runs.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use quire_proto::{
    id::ApprovalId,
    v1::{Approval, Event, Job, JobState, event::Body},
};

use crate::pure::transcript::Transcript;

/// An approval or a job, as it stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Matter {
    /// Over once it has an answer.
    Approval(Box<Approval>),
    /// Over once it runs no more.
    Job(Box<Job>),
}

/// Names a matter within its session.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Key {
    Approval(u64),
    Job(String),
}

/// A matter, shared by the board and those who were told of it.
pub(super) type Shared = Arc<Mutex<Standing>>;

/// How a matter stands.
#[derive(Debug)]
pub(super) struct Standing {
    /// Counts its changes.
    pub(super) changes: u64,
    pub(super) matter: Matter,
    /// Whether the user's own program was told of it.
    pub(super) told: bool,
}

impl Standing {
    /// Notes how it stands now, if that is news.
    pub(super) fn becomes(&mut self, matter: Matter) {
        if self.matter != matter {
            self.matter = matter;
            self.changes += 1;
        }
    }
}

pub(super) fn shared(matter: Matter) -> Shared {
    Arc::new(Mutex::new(Standing {
        changes: 0,
        matter,
        told: false,
    }))
}

pub(super) fn lock(shared: &Shared) -> MutexGuard<'_, Standing> {
    // Nothing under the lock can leave it half changed.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Matter {
    /// All of a session that are not over.
    pub(super) fn open(transcript: &Transcript) -> impl Iterator<Item = Self> {
        let approvals = transcript.pending_approvals().cloned();
        let approvals = approvals.map(|approval| Self::Approval(Box::new(approval)));
        let jobs = transcript.jobs().cloned();
        let jobs = jobs.map(|job| Self::Job(Box::new(job)));
        approvals.chain(jobs.filter(|job| !job.is_over()))
    }

    /// Whether nothing more will come of it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        match self {
            Self::Approval(approval) => approval.answer.is_some(),
            Self::Job(job) => job.state() != JobState::Running,
        }
    }

    pub(super) fn key(&self) -> Key {
        match self {
            Self::Approval(approval) => Key::Approval(approval.id),
            Self::Job(job) => Key::Job(job.id.clone()),
        }
    }
}

impl Key {
    /// How the matter stands by now.
    pub(super) fn find(&self, transcript: &Transcript) -> Option<Matter> {
        match self {
            Self::Approval(id) => {
                let approval = transcript.approval(ApprovalId::new(*id)?)?;
                Some(Matter::Approval(Box::new(approval.clone())))
            }
            Self::Job(id) => Some(Matter::Job(Box::new(transcript.job(id)?.clone()))),
        }
    }
}

/// The matters that these events are about.
pub(super) fn touched(events: &[Event]) -> BTreeSet<Key> {
    let key = |event: &Event| match event.body.as_ref()? {
        Body::ApprovalRequested(asked) => Some(Key::Approval(asked.approval.as_ref()?.id)),
        Body::ApprovalDecided(decided) => Some(Key::Approval(decided.id)),
        Body::JobStarted(job) => Some(Key::Job(job.job_id.clone())),
        Body::JobChanged(job) => Some(Key::Job(job.job_id.clone())),
        Body::JobEnded(job) => Some(Key::Job(job.job_id.clone())),
        _ => None,
    };
    events.iter().filter_map(key).collect()
}
