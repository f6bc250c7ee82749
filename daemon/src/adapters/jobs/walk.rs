//! What earlier daemons left: each job's directory is looked at once when a daemon starts.
//!
//! A job has ended, or runs and is connected to, or is lost: nobody knows how it ended, and nobody
//! makes an end up. What belongs to no session any more is stopped and removed, but for detached jobs.
//! The walk reads and never fails the start; what takes time is left to tasks of its own.

use std::{
    collections::{BTreeSet, HashSet},
    fs,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use quire_proto::id::{JobId, SessionId};
use quire_sandbox::{
    job::{self, JobState},
    record::{self, JOB_FILE, JobRecord, KEEPER_FILE, KeeperRecord},
    remnant,
    spec::Lifetime,
};

use super::{Jobs, SCRATCH, lock};
use crate::ports::tool::RunningJobs;

/// How long living keepers have to answer, all together. One that does not in time is asked again
/// when somebody wants something of it.
const PATIENCE: Duration = Duration::from_millis(500);

/// A job as its directory tells it.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Its name.
    pub id: JobId,
    /// What its keeper wrote about it.
    pub record: JobRecord,
    /// How it stands; never [`JobState::NeverStarted`].
    pub state: JobState,
}

impl Kept {
    /// The session it was started for; `None` when an earlier version of Quire started it.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        self.record.label.session.parse().ok()
    }

    fn is_detached(&self) -> bool {
        self.record.label.lifetime == Lifetime::Detached
    }
}

/// What was found. Nothing has been done about it yet.
#[derive(Debug)]
pub struct Walk {
    jobs: Jobs,
    found: Vec<Kept>,
    /// Sessions whose commands have a scratch directory.
    scratch: Vec<SessionId>,
}

impl Jobs {
    /// Every job that has a directory, in the order of their ids. Blocks for as long as it takes to
    /// read three small files of each. What can't be read is logged and left out.
    #[must_use]
    pub fn kept(&self) -> Vec<Kept> {
        let mut kept: Vec<Kept> = self
            .names()
            .iter()
            .filter_map(|name| self.look(name))
            .collect();
        kept.sort_by(|one, other| one.id.cmp(&other.id));
        kept
    }

    /// Looks at what earlier daemons left, and removes what keepers left that died before they had
    /// made their job.
    pub async fn walk(&self) -> Walk {
        let jobs = self.clone();
        let found = tokio::task::spawn_blocking(move || {
            let names = jobs.names();
            for name in &names {
                remove_unmade(&jobs.0.directory, name);
            }
            let found = names.iter().filter_map(|name| jobs.look(name)).collect();
            let scratch = names_in(&jobs.0.directory.join(SCRATCH)).into_iter();
            let scratch = scratch.filter_map(|name| name.parse().ok()).collect();
            (found, scratch)
        });
        // An error is a panic, which has been logged.
        let (found, scratch) = found.await.unwrap_or_default();
        Walk {
            jobs: self.clone(),
            found,
            scratch,
        }
    }

    fn names(&self) -> Vec<String> {
        names_in(&self.0.directory)
    }

    /// `None` for what is no job's.
    fn look(&self, name: &str) -> Option<Kept> {
        let id: JobId = name.parse().ok()?;
        let directory = self.directory(&id);
        match job::state(&directory) {
            Ok(JobState::NeverStarted) => None,
            Ok(state) => Some(Kept {
                record: record::read(&directory, JOB_FILE).unwrap_or_default(),
                id,
                state,
            }),
            Err(error) => {
                tracing::warn!(job = %id, %error, "a job cannot be looked at");
                None
            }
        }
    }
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            tracing::warn!(directory = %directory.display(), %error, "a directory cannot be read");
            return Vec::new();
        }
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// Removes what a keeper made beside its job's place, if that keeper is gone.
fn remove_unmade(jobs: &Path, name: &str) {
    let Some((_, pid)) = name.split_once(".new-") else {
        return;
    };
    let directory = jobs.join(name);
    let lives = match record::read::<KeeperRecord>(&directory, KEEPER_FILE) {
        Ok(keeper) => keeper.is_alive(),
        // It had not come that far: then its number is all there is.
        Err(_) => pid.parse().is_ok_and(|pid| record::start_time(pid).is_ok()),
    };
    if !lives && let Err(error) = fs::remove_dir_all(&directory) {
        tracing::warn!(name, %error, "an unfinished job's directory stays");
    }
}

impl Walk {
    /// The sessions that something was found of.
    #[must_use]
    pub fn sessions(&self) -> BTreeSet<SessionId> {
        let of_jobs = self.found.iter().filter_map(Kept::session);
        of_jobs.chain(self.scratch.iter().cloned()).collect()
    }

    /// Connects to what runs, and clears away what nobody will: remnants of killed keepers and,
    /// where `known` names the sessions there are, what belongs to none of them. With `None`
    /// everything may still belong to somebody.
    pub async fn settle(self, known: Option<&HashSet<SessionId>>) {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let (mut running, mut lost) = (Vec::new(), 0);
        let count = self.found.len();
        if let Some(known) = known {
            self.clear_scratch(known);
        }
        for kept in self.found {
            let stray = known
                .zip(kept.session())
                .is_some_and(|(known, session)| !known.contains(&session));
            match &kept.state {
                JobState::Running(_) if stray && !kept.is_detached() => stop(&self.jobs, kept.id),
                JobState::Running(_) => {
                    if kept.is_detached() {
                        lock(&self.jobs.0.detached).insert(kept.id.clone());
                    }
                    running.extend(kept.session().map(|session| (session, kept.id)));
                }
                JobState::Ended(exit) => {
                    let ended = Duration::from_millis(exit.started_ms.saturating_add(exit.wall_ms));
                    let old = now.saturating_sub(ended) > self.jobs.longest();
                    clear(
                        &self.jobs,
                        kept.id.clone(),
                        stray && (old || !kept.is_detached()),
                    );
                }
                JobState::Lost | JobState::NeverStarted => {
                    lost += 1;
                    clear(&self.jobs, kept.id.clone(), stray);
                }
            }
        }
        let adopting = running
            .iter()
            .map(|(session, id)| self.jobs.adopt(session, id));
        let adopting = futures_util::future::join_all(adopting);
        let answered = tokio::time::timeout(PATIENCE, adopting).await.is_ok();
        if count > 0 {
            let running = running.len();
            tracing::info!(count, running, lost, answered, "jobs of earlier daemons");
        }
    }
}

impl Walk {
    /// Removes the scratch directories of sessions that are gone, and that no job uses.
    fn clear_scratch(&self, known: &HashSet<SessionId>) {
        let running = |kept: &&Kept| matches!(kept.state, JobState::Running(_));
        let in_use: HashSet<_> = self
            .found
            .iter()
            .filter(running)
            .filter_map(Kept::session)
            .collect();
        for session in &self.scratch {
            if known.contains(session) || in_use.contains(session) {
                continue;
            }
            let (jobs, session) = (self.jobs.clone(), session.clone());
            tokio::task::spawn_blocking(move || {
                if let Err(error) = jobs.forget_scratch(&session) {
                    tracing::warn!(%session, %error, "the scratch files of a session stay");
                }
            });
        }
    }
}

/// Stops a job that nobody wants any more, and removes its files.
fn stop(jobs: &Jobs, id: JobId) {
    let jobs = jobs.clone();
    tokio::spawn(async move {
        tracing::info!(job = %id, "a job of a session that is gone is stopped");
        RunningJobs::stop(&jobs, id.clone()).await;
        RunningJobs::forget(&jobs, id);
    });
}

/// Removes what a killed keeper left, and with `files` the job's own.
fn clear(jobs: &Jobs, id: JobId, files: bool) {
    let directory = jobs.directory(&id);
    if !files && !remnant::are_left(&directory) {
        return;
    }
    let jobs = jobs.clone();
    tokio::task::spawn_blocking(move || {
        if let Err(error) = remnant::remove(&directory) {
            tracing::warn!(job = %id, %error, "what a killed keeper left stays");
        }
        if files && let Err(error) = jobs.forget(&id) {
            tracing::warn!(job = %id, %error, "the files of a job stay");
        }
    });
}
