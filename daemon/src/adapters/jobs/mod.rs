//! Jobs: commands that run under keepers of their own.
//!
//! A job is never tied to this daemon's life: dropping every [`Job`] leaves it running, and
//! [`Jobs::adopt`] finds it again, also from another daemon. What a job printed is read from its
//! files; the keeper only tells how much there is. Nothing here polls.

mod connection;
mod follow;
mod handle;
mod running;
#[cfg(test)]
pub(crate) mod tests;
mod walk;

use std::{
    collections::{HashMap, HashSet},
    io,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use quire_proto::id::{JobId, SessionId};
use quire_sandbox::{
    job::{self, JobState},
    record::{self, ExitRecord, JOB_FILE, JobRecord, SOCKET_FILE},
    remnant,
    spec::{JobSpec, Label, Lifetime, Limits},
    wire,
};
use tokio::{io::AsyncWriteExt, net::UnixStream, process::Command};

use crate::pure::config::JobsConfig;

use self::connection::Connection;
pub use self::{
    follow::Follow,
    handle::{Job, snapshot},
    walk::{Kept, Walk},
};

/// Holds the scratch directories of sessions. Not the name of any job: those have no vowels.
const SCRATCH: &str = "scratch";

/// Why a job was not started, or a request to one not carried out.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The job's directory exists already: adopt it instead.
    #[error("the job was started before")]
    AlreadyStarted,
    /// The keeper could not be run.
    #[error("cannot run `{}`", program.display())]
    Spawn {
        /// The program that was tried.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The keeper could not keep the job, and nothing was run.
    #[error("the job was not started: {0}")]
    Refused(String),
    /// The keeper can't do what was asked, such as writing to a closed input.
    #[error("{0}")]
    Denied(String),
    /// So many jobs live on after their sessions as may.
    #[error("{0} jobs are detached already: end one first, `quire jobs` lists them")]
    TooManyDetached(usize),
    /// The job has ended, or its keeper is gone.
    #[error("the job no longer runs")]
    Gone,
    /// The job's files can't be read.
    #[error("cannot read the job's files")]
    Files(#[source] io::Error),
}

/// How a job came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its keeper recorded it.
    Exit(Box<ExitRecord>),
    /// Its keeper is gone without a record.
    Unknown,
}

/// What became of a job that an earlier daemon meant to start.
#[derive(Clone, Debug)]
pub enum Adopted {
    /// It runs.
    Running(Job),
    /// It has ended.
    Ended(Box<ExitRecord>),
    /// It was started, but nobody knows how it ended.
    Unknown,
    /// It was never started.
    NeverStarted,
}

/// All jobs of one state directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Jobs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    program: PathBuf,
    private: Vec<PathBuf>,
    /// Of detached jobs.
    bounds: JobsConfig,
    running: Mutex<HashMap<JobId, Job>>,
    /// Jobs that run and are detached, or are about to be.
    detached: Mutex<HashSet<JobId>>,
}

/// A place among the detached jobs, given back when dropped.
struct Reserved<'a> {
    jobs: &'a Jobs,
    /// `None` when it is kept.
    job: Option<JobId>,
}

impl Reserved<'_> {
    fn keep(mut self) {
        self.job = None;
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if let Some(job) = &self.job {
            lock(&self.jobs.0.detached).remove(job);
        }
    }
}

impl Jobs {
    /// Keeps jobs in `directory`, one directory each, with the `quire-sandbox` program at
    /// `program`. Commands never see `private`: Quire's own state and socket directories. Detached
    /// jobs keep to `bounds`.
    ///
    /// Nothing is read or made yet.
    #[must_use]
    pub fn new(
        directory: PathBuf,
        program: PathBuf,
        private: Vec<PathBuf>,
        bounds: JobsConfig,
    ) -> Self {
        let private = private.into_iter().chain([directory.clone()]).collect();
        Self(Arc::new(Inner {
            directory,
            program,
            private,
            bounds,
            running: Mutex::default(),
            detached: Mutex::default(),
        }))
    }

    /// The directory of a job, whether there is one or not.
    #[must_use]
    pub fn directory(&self, job: &JobId) -> PathBuf {
        self.0.directory.join(job.as_str())
    }

    /// Directories that no confined command may see.
    #[must_use]
    pub fn private(&self) -> &[PathBuf] {
        &self.0.private
    }

    /// The `quire-sandbox` program.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.0.program
    }

    /// Makes the directory that holds the private `/tmp` and home of a session's commands.
    ///
    /// # Errors
    ///
    /// Any error of making it.
    pub fn scratch(&self, session: &SessionId) -> io::Result<PathBuf> {
        let path = self.scratch_path(session);
        make_private(&path)?;
        Ok(path)
    }

    /// Removes what a session's commands left in `/tmp` and their home.
    ///
    /// # Errors
    ///
    /// Any error of removing it.
    pub fn forget_scratch(&self, session: &SessionId) -> io::Result<()> {
        match std::fs::remove_dir_all(self.scratch_path(session)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    fn scratch_path(&self, session: &SessionId) -> PathBuf {
        self.0.directory.join(SCRATCH).join(session.as_str())
    }

    /// Removes the files of a job that has ended; its output can then no longer be read.
    ///
    /// # Errors
    ///
    /// Any error of removing them; [`JobError::Denied`] while it runs.
    pub fn forget(&self, job: &JobId) -> Result<(), JobError> {
        match job::state(&self.directory(job)).map_err(JobError::Files)? {
            JobState::NeverStarted => Ok(()),
            JobState::Running(_) => Err(JobError::Denied("the job still runs".to_owned())),
            JobState::Ended(_) | JobState::Lost => {
                std::fs::remove_dir_all(self.directory(job)).map_err(JobError::Files)
            }
        }
    }

    /// Starts a job for a session, under a keeper in a session of its own. `spec.directory` and the
    /// session in its label are set here, and the time limit of a detached job. Returns when the
    /// command runs, or has already ended.
    ///
    /// Dropping the future leaves a job that can be adopted, or none.
    ///
    /// # Errors
    ///
    /// [`JobError::AlreadyStarted`], [`JobError::Spawn`], [`JobError::Refused`] or
    /// [`JobError::TooManyDetached`]: nothing was run by this call. A command that can't be run is
    /// not an error here: it ends at once.
    pub async fn start(
        &self,
        session: &SessionId,
        id: &JobId,
        spec: JobSpec,
    ) -> Result<Job, JobError> {
        let spec = self.completed(session, id, spec);
        let detached = spec.label.lifetime == Lifetime::Detached;
        let place = if detached {
            Some(self.reserve(id)?)
        } else {
            None
        };
        let spawn = |source| JobError::Spawn {
            program: self.0.program.clone(),
            source,
        };
        make_private(&self.0.directory).map_err(spawn)?;
        let (pid, mut stream) = self.spawn_keeper().map_err(spawn)?;
        stream
            .write_all(&wire::encode_spec(&spec))
            .await
            .map_err(spawn)?;
        let connection = Connection::open(stream, spec.directory.clone()).await?;
        if let Some(place) = place {
            place.keep();
        }
        Ok(self.register(session, id, pid, connection))
    }

    fn completed(&self, session: &SessionId, id: &JobId, spec: JobSpec) -> JobSpec {
        let most = (spec.label.lifetime == Lifetime::Detached).then(|| self.longest());
        JobSpec {
            directory: self.directory(id),
            label: Label {
                session: session.to_string(),
                ..spec.label
            },
            limits: Limits {
                wall: [spec.limits.wall, most].into_iter().flatten().min(),
                ..spec.limits
            },
            ..spec
        }
    }

    /// How long a detached job may run.
    fn longest(&self) -> Duration {
        Duration::from_secs(self.0.bounds.max_hours.saturating_mul(3600))
    }

    /// Takes a place among the detached jobs; one that has a place needs no other.
    fn reserve(&self, job: &JobId) -> Result<Reserved<'_>, JobError> {
        let most = usize::try_from(self.0.bounds.max_detached).unwrap_or(usize::MAX);
        let mut detached = lock(&self.0.detached);
        // One that has just ended may not have been taken out yet.
        let lives = |job: &JobId| self.get(job).is_none_or(|job| job.ended().is_none());
        detached.retain(lives);
        let known = detached.contains(job);
        if !known && detached.len() >= most {
            return Err(JobError::TooManyDetached(detached.len()));
        }
        detached.insert(job.clone());
        Ok(Reserved {
            jobs: self,
            job: (!known).then(|| job.clone()),
        })
    }

    /// The keeper's process, and a connection to it.
    fn spawn_keeper(&self) -> io::Result<(u32, UnixStream)> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut keeper = Command::new(&self.0.program)
            .arg("keep")
            // Keys of providers may be in ours.
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Until it has a session of its own, a signal to our group must not reach it.
            .process_group(0)
            .spawn()?;
        let pid = keeper.id().unwrap_or_default();
        // Reaped whenever it ends; it needs nothing else of us.
        tokio::spawn(async move { keeper.wait().await });
        Ok((pid, UnixStream::from_std(ours)?))
    }

    fn register(&self, session: &SessionId, id: &JobId, pid: u32, connection: Connection) -> Job {
        let job = Job {
            id: id.clone(),
            session: session.clone(),
            pid,
            directory: self.directory(id),
            connection,
        };
        self.running().insert(id.clone(), job.clone());
        tokio::spawn(forget_at_end(Arc::downgrade(&self.0), job.clone()));
        job
    }

    /// Finds out what became of a job, and connects to it when it runs.
    ///
    /// # Errors
    ///
    /// [`JobError::Files`] when its directory can't be read.
    pub async fn adopt(&self, session: &SessionId, id: &JobId) -> Result<Adopted, JobError> {
        if let Some(job) = self.get(id) {
            return Ok(Adopted::Running(job));
        }
        Ok(match self.attach(id).await? {
            Attached::Running { connection, pid } => {
                if self.record(id).label.lifetime == Lifetime::Detached {
                    // It has its place already, however many there are.
                    lock(&self.0.detached).insert(id.clone());
                }
                Adopted::Running(self.register(session, id, pid, connection))
            }
            Attached::Ended(record) => Adopted::Ended(record),
            Attached::Unknown => Adopted::Unknown,
            Attached::NeverStarted => Adopted::NeverStarted,
        })
    }

    /// What the keeper wrote about a job; empty for one that an earlier version started.
    #[must_use]
    pub fn record(&self, id: &JobId) -> JobRecord {
        record::read(&self.directory(id), JOB_FILE).unwrap_or_default()
    }

    async fn attach(&self, id: &JobId) -> Result<Attached, JobError> {
        let directory = self.directory(id);
        loop {
            match job::state(&directory).map_err(JobError::Files)? {
                JobState::NeverStarted => return Ok(Attached::NeverStarted),
                JobState::Ended(record) => return Ok(Attached::Ended(record)),
                JobState::Lost => return Ok(Attached::Unknown),
                JobState::Running(keeper) => match connect(&directory).await {
                    Ok(stream) => {
                        if let Ok(connection) = Connection::open(stream, directory.clone()).await {
                            return Ok(Attached::of(connection, keeper.pid));
                        }
                    }
                    Err(error) => return unanswered(&directory, error),
                },
            }
        }
    }

    /// A job that runs and is known to this daemon.
    #[must_use]
    pub fn get(&self, id: &JobId) -> Option<Job> {
        self.running().get(id).cloned()
    }

    /// The jobs of a session that run, in the order of their ids.
    #[must_use]
    pub fn of_session(&self, session: &SessionId) -> Vec<Job> {
        let mut jobs: Vec<Job> = self
            .running()
            .values()
            .filter(|job| job.session == *session)
            .cloned()
            .collect();
        jobs.sort_by(|one, other| one.id.cmp(&other.id));
        jobs
    }

    /// How many jobs run.
    #[must_use]
    pub fn count(&self) -> usize {
        self.running().len()
    }

    fn running(&self) -> MutexGuard<'_, HashMap<JobId, Job>> {
        lock(&self.0.running)
    }
}

/// What a lock guards here stays whole whatever panicked beside it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn make_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

/// Connects to the keeper of the job in `directory`, whose path may be longer than the address of a
/// socket.
async fn connect(directory: &Path) -> io::Result<UnixStream> {
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsRawFd;
        let place = std::fs::File::open(directory)?;
        UnixStream::connect(format!("/proc/self/fd/{}/{SOCKET_FILE}", place.as_raw_fd())).await
    }
    #[cfg(not(target_os = "linux"))]
    UnixStream::connect(directory.join(SOCKET_FILE)).await
}

/// What a look at a job found.
enum Attached {
    Running { connection: Connection, pid: u32 },
    Ended(Box<ExitRecord>),
    Unknown,
    NeverStarted,
}

impl Attached {
    /// The keeper may have died before its first word.
    fn of(connection: Connection, pid: u32) -> Self {
        let ended = connection.progress().borrow().ended.clone();
        match ended {
            None => Self::Running { connection, pid },
            Some(Ended::Exit(record)) => Self::Ended(record),
            Some(Ended::Unknown) => Self::Unknown,
        }
    }
}

/// Waits for a job's end, and forgets that it runs. A keeper that is gone without a word has left what
/// it made: that goes, too.
async fn forget_at_end(jobs: Weak<Inner>, job: Job) {
    let ended = job.wait_exit().await;
    if let Some(jobs) = jobs.upgrade() {
        lock(&jobs.running).remove(&job.id);
        lock(&jobs.detached).remove(&job.id);
    }
    if ended == Ended::Unknown {
        let removed = tokio::task::spawn_blocking(move || remnant::remove(&job.directory)).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!(job = %job.id, %error, "what a killed keeper left stays");
        }
    }
}

/// What a keeper is that lived a moment ago and now answers nobody.
fn unanswered(directory: &Path, error: io::Error) -> Result<Attached, JobError> {
    match job::state(directory).map_err(JobError::Files)? {
        JobState::Ended(record) => Ok(Attached::Ended(record)),
        JobState::NeverStarted | JobState::Lost => Ok(Attached::Unknown),
        // It listens as long as it lives: this one is dying without a record.
        JobState::Running(_) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Ok(Attached::Unknown)
        }
        JobState::Running(_) => Err(JobError::Files(error)),
    }
}
