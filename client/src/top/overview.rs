//! What the watch over all sessions adds up to, and the rows it is shown in. Pure.

use std::collections::BTreeMap;

use quire_proto::v1::{
    Approval, Job, Session, SessionState, daemon_service_watch_response::Update,
};

/// The sessions there are, what waits and what runs.
#[derive(Clone, Debug, Default)]
pub struct Overview {
    sessions: BTreeMap<String, Session>,
    approvals: BTreeMap<(String, u64), Approval>,
    jobs: BTreeMap<String, Job>,
    synced: bool,
}

/// One line of the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Row<'a> {
    /// A session.
    Session(&'a Session),
    /// What waits for a person, beneath its session.
    Approval(&'a Approval),
    /// What runs, beneath its session.
    Job(&'a Job),
}

/// How many there are of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sessions that are not archived.
    pub sessions: usize,
    /// With a turn that goes on.
    pub running: usize,
    /// That wait for a person.
    pub waiting: usize,
    /// Jobs that run.
    pub jobs: usize,
    /// Spent in all of them, in millionths of a dollar.
    pub cost_micros: u64,
}

impl Overview {
    /// Takes one update in.
    pub fn apply(&mut self, update: &Update) {
        match update {
            Update::Session(session) => {
                self.sessions.insert(session.id.clone(), session.clone());
            }
            Update::SessionDeleted(id) => {
                self.sessions.remove(id);
                self.approvals.retain(|(session, _), _| session != id);
                self.jobs.retain(|_, job| job.session_id != *id);
            }
            Update::Approval(approval) => {
                let key = (approval.session_id.clone(), approval.id);
                match approval.answer {
                    Some(_) => self.approvals.remove(&key),
                    None => self.approvals.insert(key, approval.clone()),
                };
            }
            Update::Job(job) => {
                self.jobs.insert(job.id.clone(), job.clone());
            }
            Update::JobEnded(job) => {
                self.jobs.remove(&job.id);
            }
            Update::Synced(_) => self.synced = true,
            Update::Draining(_) | Update::Heartbeat(_) => {}
        }
    }

    /// Whether all there is has been told.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// One session.
    #[must_use]
    pub fn session(&self, id: &str) -> Option<&Session> {
        self.sessions.get(id)
    }

    /// How many there are of what.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts {
            jobs: self.jobs.len(),
            ..Counts::default()
        };
        for session in self.sessions.values().filter(|session| is_shown(session)) {
            counts.sessions += 1;
            counts.running += usize::from(session.state() == SessionState::Running);
            counts.waiting += usize::from(needs_someone(session));
            counts.cost_micros += session.usage.unwrap_or_default().cost_micros;
        }
        counts
    }

    /// The sessions to show, each with what is beneath it: those that need someone first, then by newest
    /// activity. With a `filter` only those whose id, title, workspace, model or state contains it,
    /// whatever the case.
    #[must_use]
    pub fn rows(&self, filter: &str) -> Vec<Row<'_>> {
        let filter = filter.to_lowercase();
        let shown = self.sessions.values().filter(|session| is_shown(session));
        let mut shown: Vec<&Session> = shown.filter(|one| has(one, &filter)).collect();
        shown.sort_by_key(|session| (!needs_someone(session), -session.active_ms));
        let mut rows = Vec::new();
        for session in shown {
            rows.push(Row::Session(session));
            let own = (session.id.clone(), 0)..=(session.id.clone(), u64::MAX);
            rows.extend(self.approvals.range(own).map(|(_, one)| Row::Approval(one)));
            let own = self
                .jobs
                .values()
                .filter(|job| job.session_id == session.id);
            rows.extend(own.map(Row::Job));
        }
        rows
    }
}

/// Whether the session waits for a person.
#[must_use]
pub(super) fn needs_someone(session: &Session) -> bool {
    matches!(
        session.state(),
        SessionState::NeedsApproval | SessionState::Suspended
    )
}

/// An archived session is shown while something of it still wants to be seen.
fn is_shown(session: &Session) -> bool {
    !session.archived || session.running_jobs > 0 || session.running_turn != 0
}

fn has(session: &Session, filter: &str) -> bool {
    let state = crate::commands::ps::state(session);
    [
        session.id.as_str(),
        &session.title,
        &session.workspace,
        &session.model,
        state,
    ]
    .iter()
    .any(|text| text.to_lowercase().contains(filter))
}
