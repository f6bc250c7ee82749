//! What sessions ask of jobs that they only know by name.

use std::{io, path::PathBuf};

use futures_util::future::BoxFuture;
use quire_proto::{
    id::{JobId, SessionId},
    v1::JobEnded,
};
use quire_sandbox::wire::{Order, Request};

use super::{Adopted, Attached, Ended, JobError, Jobs, connection::Connection, handle, snapshot};
use crate::ports::tool::RunningJobs;

impl RunningJobs for Jobs {
    fn stop(&self, job: JobId) -> BoxFuture<'static, ()> {
        let jobs = self.clone();
        Box::pin(async move {
            if let Ok(Some(connection)) = jobs.connection(&job).await {
                handle::stop(&jobs.directory(&job), &connection).await;
            }
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
        let jobs = self.clone();
        Box::pin(async move { jobs.let_go(&job).await.map_err(|error| error.to_string()) })
    }

    fn tail(&self, job: JobId) -> BoxFuture<'static, String> {
        let directory = self.directory(&job);
        Box::pin(async move { newest(directory).unwrap_or_default() })
    }
}

impl Jobs {
    /// The way to a job's keeper, also of one that an earlier daemon started. `None` when the job does
    /// not run.
    async fn connection(&self, job: &JobId) -> Result<Option<Connection>, JobError> {
        if let Some(known) = self.get(job) {
            return Ok(Some(known.connection));
        }
        Ok(match self.attach(job).await? {
            Attached::Running { connection, .. } => Some(connection),
            Attached::Ended(_) | Attached::Unknown | Attached::NeverStarted => None,
        })
    }

    async fn let_go(&self, job: &JobId) -> Result<(), JobError> {
        let connection = match self.record(job).label.session.parse() {
            // Its place among the detached is given back when it is seen to end.
            Ok(session) => match self.adopt(&session, job).await? {
                Adopted::Running(running) => Some(running.connection),
                Adopted::Ended(_) | Adopted::Unknown | Adopted::NeverStarted => None,
            },
            Err(_) => self.connection(job).await?,
        };
        let connection = connection.ok_or(JobError::Gone)?;
        if !connection.knows_ids() {
            return Err(JobError::Denied(
                "an earlier version of Quire started this job and cannot detach it: let it end, or end it"
                    .to_owned(),
            ));
        }
        let place = self.reserve(job)?;
        let ms = u64::try_from(self.longest().as_millis()).unwrap_or(u64::MAX);
        let order = Request::Order(Order::Detach { ms });
        connection.ask(&order, None).await?;
        place.keep();
        Ok(())
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
