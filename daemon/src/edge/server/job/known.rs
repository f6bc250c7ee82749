//! Which jobs there are: those that sessions tell of, as they stand now, and those whose session is
//! gone, as their directories tell of them.

use std::collections::HashSet;

use quire_proto::{
    id::{JobId, SessionId},
    v1::{Job, JobLifetime, JobState},
};
use quire_sandbox::{job, record::JobRecord, spec::Lifetime};
use tonic::{Code, Status};

use crate::{
    adapters::{
        jobs::{Adopted, JobError, Kept},
        store::{Listing, StoreError},
    },
    edge::{
        server::{
            Services,
            refusals::{bad_id, invalid},
        },
        status::refuse,
    },
    session::Handle,
};

/// Sessions whose jobs are looked through when none is named.
const SESSIONS: u32 = 200;

/// Names the job that was started last.
const LAST: &str = "@last";

impl Services {
    /// The jobs of the newest sessions, and of those that are gone.
    pub(super) async fn all_jobs(&self) -> Result<Vec<Job>, Status> {
        let listing = Listing {
            include_archived: true,
            ..Listing::newest(SESSIONS)
        };
        let mut jobs = Vec::new();
        for session in self.sessions.list(listing).await? {
            let id: SessionId = session.id.parse().map_err(bad_id)?;
            match self.sessions.open(&id).await {
                Ok(handle) => jobs.extend(self.jobs_in(&handle).await?),
                // One damaged session must not hide the jobs of the others.
                Err(error @ (StoreError::Damaged { .. } | StoreError::Missing(_))) => {
                    tracing::warn!(session = %id, %error, "its jobs are not listed");
                }
                Err(error) => return Err(error.into()),
            }
        }
        jobs.extend(self.strays(&jobs).await?);
        Ok(jobs)
    }

    /// The jobs of a session.
    pub(super) async fn jobs_of(&self, session: &SessionId) -> Result<Vec<Job>, Status> {
        self.jobs_in(&self.sessions.open(session).await?).await
    }

    async fn jobs_in(&self, handle: &Handle) -> Result<Vec<Job>, Status> {
        let jobs = handle.look().await?.jobs;
        Ok(jobs.into_iter().map(|job| self.as_it_stands(job)).collect())
    }

    /// Jobs that no session tells of, because it is gone, beside the `told` ones.
    async fn strays(&self, told: &[Job]) -> Result<Vec<Job>, StoreError> {
        let jobs = self.jobs.clone();
        let kept = tokio::task::spawn_blocking(move || jobs.kept()).await;
        let told: HashSet<&str> = told.iter().map(|job| job.id.as_str()).collect();
        let mut strays = Vec::new();
        for kept in kept.unwrap_or_default() {
            let Some(session) = kept.session() else {
                continue;
            };
            if !told.contains(kept.id.as_str())
                && self.sessions.store().session(&session).await?.is_none()
            {
                strays.push(self.as_it_stands(of_its_files(&kept)));
            }
        }
        Ok(strays)
    }

    /// With what is known only while a job runs.
    pub(in crate::edge::server) fn as_it_stands(&self, job: Job) -> Job {
        let id = job.id.parse().ok();
        match id.and_then(|id| self.jobs.get(&id)) {
            Some(running) if job.state() == JobState::Running => Job {
                pid: running.pid(),
                output_bytes: running.output_bytes(),
                ..job
            },
            Some(_) | None => job,
        }
    }

    /// The job that `name` means: an id, a unique prefix of one, or `@last` for the one started last.
    pub(super) async fn job(&self, name: &str) -> Result<Job, Status> {
        if name.is_empty() {
            let message = "`job` is missing: give an id, a unique prefix or @last";
            return Err(invalid(message));
        }
        if name == LAST {
            return self.newest_job().await;
        }
        if let Some(job) = self.job_of_id(name).await? {
            return Ok(job);
        }
        let mut found = self.all_jobs().await?;
        found.retain(|job| job.id.starts_with(name));
        match found.len() {
            0 => {
                let message = format!("no job `{name}`: `quire jobs` lists them");
                Err(refuse(Code::NotFound, "NOT_FOUND", message))
            }
            1 => Ok(found.remove(0)),
            _ => Err(refuse(
                Code::InvalidArgument,
                "AMBIGUOUS",
                format!("`{name}` begins several jobs' ids"),
            )),
        }
    }

    /// The job that was started last, in whatever session.
    async fn newest_job(&self) -> Result<Job, Status> {
        let jobs = self.all_jobs().await?.into_iter();
        jobs.max_by_key(|job| job.started_ms).ok_or_else(|| {
            let message = "no job was started yet";
            refuse(Code::NotFound, "NOT_FOUND", message)
        })
    }

    /// The short way to a job whose id is given whole and whose files say whose it is.
    async fn job_of_id(&self, name: &str) -> Result<Option<Job>, Status> {
        let Ok(id) = name.parse::<JobId>() else {
            return Ok(None);
        };
        let record = self.jobs.record(&id);
        let Ok(session) = record.label.session.parse::<SessionId>() else {
            return Ok(None);
        };
        if self.session_exists(&session).await? {
            let mut jobs = self.jobs_of(&session).await?;
            jobs.retain(|job| job.id == name);
            return Ok(jobs.pop());
        }
        let directory = self.jobs.directory(&id);
        let state = job::state(&directory).map_err(|error| refused(JobError::Files(error)))?;
        let kept = Kept { id, record, state };
        Ok(Some(self.as_it_stands(of_its_files(&kept))))
    }

    pub(super) async fn session_exists(&self, session: &SessionId) -> Result<bool, StoreError> {
        Ok(self.sessions.store().session(session).await?.is_some())
    }

    /// The way to a job that runs.
    pub(super) async fn running(&self, name: &str) -> Result<crate::adapters::jobs::Job, Status> {
        let job = self.job(name).await?;
        let (session, id) = names(&job)?;
        match self.jobs.adopt(&session, &id).await {
            Ok(Adopted::Running(running)) => Ok(running),
            Ok(_) => Err(refused(JobError::Gone)),
            Err(error) => Err(refused(error)),
        }
    }
}

/// The session and the id of a job.
pub(super) fn names(job: &Job) -> Result<(SessionId, JobId), Status> {
    Ok((
        job.session_id.parse().map_err(bad_id)?,
        job.id.parse().map_err(bad_id)?,
    ))
}

/// A job's refusal as a status.
pub(super) fn refused(error: JobError) -> Status {
    let (code, reason) = match &error {
        JobError::Gone | JobError::Denied(_) => (Code::FailedPrecondition, "JOB_ENDED"),
        JobError::TooManyDetached(_) => (Code::FailedPrecondition, "NOT_DETACHED"),
        JobError::AlreadyStarted
        | JobError::Spawn { .. }
        | JobError::Refused(_)
        | JobError::Files(_) => (Code::Internal, "JOB"),
    };
    refuse(code, reason, error.to_string())
}

/// A job as its directory tells of it.
fn of_its_files(kept: &Kept) -> Job {
    let JobRecord {
        label,
        cwd,
        pty,
        started_ms,
    } = &kept.record;
    let millis = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    let job = Job {
        id: kept.id.to_string(),
        session_id: label.session.clone(),
        command: label.command.clone(),
        cwd: cwd.display().to_string(),
        started_ms: millis(*started_ms),
        pty: *pty,
        lifetime: lifetime(label.lifetime).into(),
        ..Job::default()
    };
    match &kept.state {
        job::JobState::Running(keeper) => Job {
            state: JobState::Running.into(),
            pid: keeper.pid,
            ..job
        },
        job::JobState::Ended(exit) => Job {
            state: JobState::Exited.into(),
            exit_code: exit.status(),
            ended_ms: millis(exit.started_ms.saturating_add(exit.wall_ms)),
            output_bytes: exit.output_bytes,
            ..job
        },
        job::JobState::Lost | job::JobState::NeverStarted => Job {
            state: JobState::Unknown.into(),
            ..job
        },
    }
}

fn lifetime(lifetime: Lifetime) -> JobLifetime {
    match lifetime {
        Lifetime::Turn => JobLifetime::Turn,
        Lifetime::Session => JobLifetime::Session,
        Lifetime::Detached => JobLifetime::Detached,
    }
}
