//! Jobs: commands that run under keepers of their own.
//!
//! A job is never tied to this daemon's life: dropping every [`Job`] leaves it running, and
//! [`Jobs::adopt`] finds it again, also from another daemon. What a job printed is read from its
//! files; the keeper only tells how much there is. Nothing here polls.

mod connection;
mod follow;
#[cfg(test)]
pub(crate) mod tests;

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::future::BoxFuture;
use quire_proto::{
    id::{JobId, SessionId},
    v1::JobEnded,
};
use quire_sandbox::{
    job::{self, JobState},
    record::{ExitRecord, SOCKET_FILE},
    report::Report,
    spec::{JobSpec, Size},
    wire::{self, Order, Request},
};
use tokio::{io::AsyncWriteExt, net::UnixStream, process::Command, sync::watch};

use crate::ports::tool::RunningJobs;

use self::connection::{Connection, Progress};
pub use self::follow::Follow;

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
    running: Mutex<HashMap<JobId, Job>>,
}

impl Jobs {
    /// Keeps jobs in `directory`, one directory each, with the `quire-sandbox` program at
    /// `program`. Commands never see `private`: Quire's own state and socket directories.
    ///
    /// Nothing is read or made yet.
    #[must_use]
    pub fn new(directory: PathBuf, program: PathBuf, private: Vec<PathBuf>) -> Self {
        let private = private.into_iter().chain([directory.clone()]).collect();
        Self(Arc::new(Inner {
            directory,
            program,
            private,
            running: Mutex::default(),
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
        // Not the name of any job: those have no vowels.
        self.0.directory.join("scratch").join(session.as_str())
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

    /// Starts a job for a session, under a keeper in a session of its own. `spec.directory` is set
    /// here. Returns when the command runs, or has already ended.
    ///
    /// Dropping the future leaves a job that can be adopted, or none.
    ///
    /// # Errors
    ///
    /// [`JobError::AlreadyStarted`], [`JobError::Spawn`] or [`JobError::Refused`]: nothing was run
    /// by this call. A command that can't be run is not an error here: it ends at once.
    pub async fn start(
        &self,
        session: &SessionId,
        id: &JobId,
        spec: JobSpec,
    ) -> Result<Job, JobError> {
        let spec = JobSpec {
            directory: self.directory(id),
            ..spec
        };
        let spawn = |source| JobError::Spawn {
            program: self.0.program.clone(),
            source,
        };
        make_private(&self.0.directory).map_err(spawn)?;
        let mut stream = self.spawn_keeper().map_err(spawn)?;
        stream
            .write_all(&wire::encode_spec(&spec))
            .await
            .map_err(spawn)?;
        let connection = Connection::open(stream, spec.directory.clone()).await?;
        Ok(self.register(session, id, spec.directory, connection))
    }

    fn spawn_keeper(&self) -> io::Result<UnixStream> {
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
        // Reaped whenever it ends; it needs nothing else of us.
        tokio::spawn(async move { keeper.wait().await });
        UnixStream::from_std(ours)
    }

    fn register(
        &self,
        session: &SessionId,
        id: &JobId,
        directory: PathBuf,
        connection: Connection,
    ) -> Job {
        let job = Job {
            id: id.clone(),
            session: session.clone(),
            directory,
            connection,
        };
        self.running().insert(id.clone(), job.clone());
        let (jobs, id, mut progress) = (
            Arc::downgrade(&self.0),
            id.clone(),
            job.connection.progress(),
        );
        tokio::spawn(async move {
            // An error means that the connection is gone, which ends a job, too.
            let _ = progress.wait_for(|progress| progress.ended.is_some()).await;
            if let Some(jobs) = jobs.upgrade() {
                lock(&jobs.running).remove(&id);
            }
        });
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
            Attached::Running(connection) => {
                Adopted::Running(self.register(session, id, self.directory(id), connection))
            }
            Attached::Ended(record) => Adopted::Ended(record),
            Attached::Unknown => Adopted::Unknown,
            Attached::NeverStarted => Adopted::NeverStarted,
        })
    }

    async fn attach(&self, id: &JobId) -> Result<Attached, JobError> {
        let directory = self.directory(id);
        loop {
            match job::state(&directory).map_err(JobError::Files)? {
                JobState::NeverStarted => return Ok(Attached::NeverStarted),
                JobState::Ended(record) => return Ok(Attached::Ended(record)),
                JobState::Lost => return Ok(Attached::Unknown),
                JobState::Running(_) => match connect(&directory).await {
                    Ok(stream) => {
                        if let Ok(connection) = Connection::open(stream, directory.clone()).await {
                            return Ok(Attached::from(connection));
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

/// A map stays whole whatever panicked beside it.
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

impl RunningJobs for Jobs {
    fn stop(&self, job: JobId) -> BoxFuture<'static, ()> {
        let jobs = self.clone();
        Box::pin(async move {
            let connection = match jobs.get(&job) {
                Some(found) => found.connection,
                // Of an earlier daemon.
                None => match jobs.attach(&job).await {
                    Ok(Attached::Running(connection)) => connection,
                    Ok(_) | Err(_) => return,
                },
            };
            stop(&jobs.directory(&job), &connection).await;
        })
    }

    fn forget(&self, job: JobId) {
        let jobs = self.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = Self::forget(&jobs, &job) {
                tracing::warn!(%job, %error, "the files of a job stay");
            }
        });
    }

    fn ended(&self, session: SessionId, job: JobId) -> BoxFuture<'static, JobEnded> {
        let jobs = self.clone();
        Box::pin(async move {
            let ended = match jobs.adopt(&session, &job).await {
                Ok(Adopted::Running(running)) => running.wait_exit().await,
                Ok(Adopted::Ended(record)) => Ended::Exit(record),
                Ok(Adopted::Unknown | Adopted::NeverStarted) | Err(_) => Ended::Unknown,
            };
            as_event(&job, &ended)
        })
    }

    fn detach(&self, job: JobId) -> BoxFuture<'static, Result<(), String>> {
        let known = self.get(&job).is_some();
        Box::pin(async move {
            if known {
                Ok(())
            } else {
                Err(JobError::Gone.to_string())
            }
        })
    }

    fn tail(&self, job: JobId) -> BoxFuture<'static, String> {
        let directory = self.directory(&job);
        Box::pin(async move { newest(directory).unwrap_or_default() })
    }
}

/// Bytes of output that tell how a job ended.
const TAIL: usize = 2 << 10;

/// The newest output of the job in `directory`.
fn newest(directory: PathBuf) -> io::Result<String> {
    let mut tail = Vec::new();
    let mut output = snapshot(directory, 0);
    while let Some(chunk) = output.now()? {
        tail.extend(chunk.bytes);
        let surplus = tail.len().saturating_sub(TAIL);
        tail.drain(..surplus);
    }
    Ok(String::from_utf8_lossy(&tail).into_owned())
}

/// A job's end as the log tells it.
fn as_event(job: &JobId, ended: &Ended) -> JobEnded {
    let job_id = job.to_string();
    match ended {
        Ended::Exit(record) => JobEnded {
            job_id,
            exit_code: record.status(),
            output_bytes: record.output_bytes,
            wall_ms: i64::try_from(record.wall_ms).unwrap_or(i64::MAX),
            unknown: record.error.clone().unwrap_or_default(),
            stopped: record.stopped,
            timed_out: record.timed_out,
        },
        Ended::Unknown => JobEnded {
            job_id,
            unknown: "its keeper is gone and left no record".to_owned(),
            ..JobEnded::default()
        },
    }
}

/// What a look at a job found.
enum Attached {
    Running(Connection),
    Ended(Box<ExitRecord>),
    Unknown,
    NeverStarted,
}

impl From<Connection> for Attached {
    /// The keeper may have died before its first word.
    fn from(connection: Connection) -> Self {
        let ended = connection.progress().borrow().ended.clone();
        match ended {
            None => Self::Running(connection),
            Some(Ended::Exit(record)) => Self::Ended(record),
            Some(Ended::Unknown) => Self::Unknown,
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

async fn stop(directory: &Path, connection: &Connection) -> Ended {
    // On a connection of its own: the other one may be held up by input nobody reads. One that
    // can't be made is that of a job that is about to end.
    let asked = async {
        let mut stream = connect(directory).await?;
        stream
            .write_all(&Request::Order(Order::Stop).encode())
            .await?;
        io::Result::Ok(stream)
    };
    let _open = asked.await;
    connection.ended().await
}

/// One job that was running when it was last looked at. Cheap to clone; dropping it does nothing to
/// the job.
#[derive(Clone, Debug)]
pub struct Job {
    id: JobId,
    session: SessionId,
    directory: PathBuf,
    connection: Connection,
}

impl Job {
    /// Its name.
    #[must_use]
    pub fn id(&self) -> &JobId {
        &self.id
    }

    /// The session it was started for.
    #[must_use]
    pub fn session(&self) -> &SessionId {
        &self.session
    }

    /// What confines it, once that is known.
    #[must_use]
    pub fn report(&self) -> Option<Report> {
        self.connection.progress().borrow().report.clone()
    }

    /// Bytes of output written so far, as far as this daemon has heard.
    #[must_use]
    pub fn output_bytes(&self) -> u64 {
        self.connection.progress().borrow().bytes
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        self.connection.progress().borrow().ended.clone()
    }

    /// Reads its output from byte `offset` on, as it comes, until it has ended.
    #[must_use]
    pub fn follow(&self, offset: u64) -> Follow {
        Follow::new(self.directory.clone(), offset, self.connection.progress())
    }

    /// Returns when nothing of it is left.
    pub async fn wait_exit(&self) -> Ended {
        self.connection.ended().await
    }

    /// Writes to its standard input. Returns when the keeper holds the bytes.
    ///
    /// # Errors
    ///
    /// [`JobError::Denied`] when its input is closed; [`JobError::Gone`].
    pub async fn write(&self, bytes: Vec<u8>) -> Result<(), JobError> {
        // Far below what a frame may hold.
        for part in bytes.chunks(1 << 20) {
            self.connection.ask(Request::Write(part.to_vec())).await?;
        }
        Ok(())
    }

    /// Ends its standard input, after what was written before.
    ///
    /// # Errors
    ///
    /// [`JobError::Gone`].
    pub async fn close_stdin(&self) -> Result<(), JobError> {
        self.order(Order::CloseStdin).await
    }

    /// Sets the size of its terminal.
    ///
    /// # Errors
    ///
    /// [`JobError::Denied`] when it has none; [`JobError::Gone`].
    pub async fn resize(&self, size: Size) -> Result<(), JobError> {
        self.order(Order::Resize(size)).await
    }

    /// Sends a signal to all of its processes.
    ///
    /// # Errors
    ///
    /// [`JobError::Denied`] when there is no such signal; [`JobError::Gone`].
    pub async fn signal(&self, signal: i32) -> Result<(), JobError> {
        self.order(Order::Signal(signal)).await
    }

    async fn order(&self, order: Order) -> Result<(), JobError> {
        self.connection.ask(Request::Order(order)).await
    }

    /// Ends it: SIGTERM, after five seconds SIGKILL. Returns when nothing of it is left.
    pub async fn stop(&self) -> Ended {
        stop(&self.directory, &self.connection).await
    }
}

/// Reads the output of a job that has ended, or that runs on meanwhile, from byte `offset` up to
/// what there is now.
#[must_use]
pub fn snapshot(directory: PathBuf, offset: u64) -> Follow {
    let (_, progress) = watch::channel(Progress {
        ended: Some(Ended::Unknown),
        ..Progress::default()
    });
    Follow::new(directory, offset, progress)
}
