//! `JobService`.

use std::{pin::Pin, time::Duration};

use futures_util::{Stream, stream};
use quire_proto::{
    id::{JobId, SessionId},
    v1::{
        Job, JobServiceDetachRequest, JobServiceDetachResponse, JobServiceGetRequest,
        JobServiceGetResponse, JobServiceListRequest, JobServiceListResponse,
        JobServiceReadOutputRequest, JobServiceReadOutputResponse, JobServiceResizeRequest,
        JobServiceResizeResponse, JobServiceSignalRequest, JobServiceSignalResponse,
        JobServiceStartRequest, JobServiceStartResponse, JobServiceWaitRequest,
        JobServiceWaitResponse, JobServiceWriteRequest, JobServiceWriteResponse, JobState,
        OutputStream, job_service_server::JobService,
    },
};
use tonic::{Code, Request, Response, Status};

use super::{
    Services,
    refusals::{bad_id, invalid, not_yet},
};
use crate::{
    adapters::{
        jobs::{Adopted, Follow, JobError, snapshot},
        store::{Listing, StoreError},
    },
    edge::status::refuse,
};

/// Sessions whose jobs `List` looks through when none is named.
const SESSIONS: u32 = 200;

#[tonic::async_trait]
impl JobService for Services {
    async fn start(
        &self,
        _request: Request<JobServiceStartRequest>,
    ) -> Result<Response<JobServiceStartResponse>, Status> {
        Err(not_yet("starting a job by hand"))
    }

    async fn get(
        &self,
        request: Request<JobServiceGetRequest>,
    ) -> Result<Response<JobServiceGetResponse>, Status> {
        let job = self.job(&request.get_ref().job).await?;
        Ok(Response::new(JobServiceGetResponse { job: Some(job) }))
    }

    async fn list(
        &self,
        request: Request<JobServiceListRequest>,
    ) -> Result<Response<JobServiceListResponse>, Status> {
        let request = request.into_inner();
        let mut jobs = if request.session.is_empty() {
            self.all_jobs().await?
        } else {
            self.session(&request.session).await?.look().await?.jobs
        };
        jobs.retain(|job| request.include_ended || job.state() == JobState::Running);
        Ok(Response::new(JobServiceListResponse { jobs }))
    }

    async fn wait(
        &self,
        request: Request<JobServiceWaitRequest>,
    ) -> Result<Response<JobServiceWaitResponse>, Status> {
        let JobServiceWaitRequest { job, timeout_ms } = request.into_inner();
        let job = self.job(&job).await?;
        let (session, id) = names(&job)?;
        let ended = self.sessions.world().jobs.ended(session, id);
        let ended = match u64::try_from(timeout_ms) {
            Ok(0) => ended.await,
            Ok(timeout) => tokio::time::timeout(Duration::from_millis(timeout), ended)
                .await
                .map_err(|_| {
                    refuse(
                        Code::DeadlineExceeded,
                        "STILL_RUNNING",
                        "the job still runs",
                    )
                })?,
            Err(_) => return Err(invalid("`timeout_ms` is negative: give 0 for no limit")),
        };
        let state = if ended.unknown.is_empty() {
            JobState::Exited
        } else {
            JobState::Unknown
        };
        let ended_ms = job.started_ms + ended.wall_ms;
        let job = Job {
            state: state.into(),
            exit_code: ended.exit_code,
            output_bytes: ended.output_bytes,
            ended_ms,
            ..job
        };
        Ok(Response::new(JobServiceWaitResponse { job: Some(job) }))
    }

    async fn signal(
        &self,
        request: Request<JobServiceSignalRequest>,
    ) -> Result<Response<JobServiceSignalResponse>, Status> {
        self.caller(&request, &request.get_ref().request_id)?;
        let request = request.into_inner();
        let job = self.running(&request.job).await?;
        if !(1..=64).contains(&request.signal) {
            return Err(invalid(format!(
                "{} is not a signal number: 15 asks it to end, 9 kills it",
                request.signal
            )));
        }
        job.signal(request.signal).await.map_err(refused)?;
        Ok(Response::new(JobServiceSignalResponse {}))
    }

    type ReadOutputStream =
        Pin<Box<dyn Stream<Item = Result<JobServiceReadOutputResponse, Status>> + Send>>;

    async fn read_output(
        &self,
        request: Request<JobServiceReadOutputRequest>,
    ) -> Result<Response<Self::ReadOutputStream>, Status> {
        let JobServiceReadOutputRequest {
            job,
            offset,
            follow,
        } = request.into_inner();
        let job = self.job(&job).await?;
        let (session, id) = names(&job)?;
        let handle = self.sessions.open(&session).await?;
        if let Some(told) = handle.told_output(&id).await? {
            return Ok(Response::new(Box::pin(stream::iter(
                from_log(&told, offset).into_iter().map(Ok),
            ))));
        }
        let output = match self.jobs.adopt(&session, &id).await {
            Ok(Adopted::Running(running)) if follow => running.follow(offset),
            _ => snapshot(self.jobs.directory(&id), offset),
        };
        Ok(Response::new(Box::pin(pieces(output))))
    }

    async fn write(
        &self,
        request: Request<JobServiceWriteRequest>,
    ) -> Result<Response<JobServiceWriteResponse>, Status> {
        self.caller(&request, &request.get_ref().request_id)?;
        let request = request.into_inner();
        let job = self.running(&request.job).await?;
        if !request.data.is_empty() {
            job.write(request.data).await.map_err(refused)?;
        }
        if request.close {
            job.close_stdin().await.map_err(refused)?;
        }
        Ok(Response::new(JobServiceWriteResponse {}))
    }

    async fn resize(
        &self,
        _request: Request<JobServiceResizeRequest>,
    ) -> Result<Response<JobServiceResizeResponse>, Status> {
        Err(not_yet("resizing a job's terminal"))
    }

    async fn detach(
        &self,
        _request: Request<JobServiceDetachRequest>,
    ) -> Result<Response<JobServiceDetachResponse>, Status> {
        Err(not_yet("detaching a job"))
    }
}

impl Services {
    async fn all_jobs(&self) -> Result<Vec<Job>, Status> {
        let listing = Listing {
            include_archived: true,
            ..Listing::newest(SESSIONS)
        };
        let mut jobs = Vec::new();
        for session in self.sessions.list(listing).await? {
            let id: SessionId = session.id.parse().map_err(bad_id)?;
            match self.sessions.open(&id).await {
                Ok(handle) => jobs.extend(handle.look().await?.jobs),
                // One damaged session must not hide the jobs of the others.
                Err(error @ (StoreError::Damaged { .. } | StoreError::Missing(_))) => {
                    tracing::warn!(session = %id, %error, "its jobs are not listed");
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(jobs)
    }

    /// The job that `name` means: an id or a unique prefix of one.
    async fn job(&self, name: &str) -> Result<Job, Status> {
        if name.is_empty() {
            return Err(invalid("`job` is missing: give an id or a unique prefix"));
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

    async fn running(&self, name: &str) -> Result<crate::adapters::jobs::Job, Status> {
        let job = self.job(name).await?;
        let (session, id) = names(&job)?;
        match self.jobs.adopt(&session, &id).await {
            Ok(Adopted::Running(running)) => Ok(running),
            Ok(_) => Err(refused(JobError::Gone)),
            Err(error) => Err(refused(error)),
        }
    }
}

fn names(job: &Job) -> Result<(SessionId, JobId), Status> {
    Ok((
        job.session_id.parse().map_err(bad_id)?,
        job.id.parse().map_err(bad_id)?,
    ))
}

fn refused(error: JobError) -> Status {
    let (code, reason) = match &error {
        JobError::Gone | JobError::Denied(_) => (Code::FailedPrecondition, "JOB_ENDED"),
        JobError::AlreadyStarted
        | JobError::Spawn { .. }
        | JobError::Refused(_)
        | JobError::Files(_) => (Code::Internal, "JOB"),
    };
    refuse(code, reason, error.to_string())
}

fn pieces(output: Follow) -> impl Stream<Item = Result<JobServiceReadOutputResponse, Status>> {
    stream::try_unfold(output, |mut output| async {
        let chunk = output
            .next()
            .await
            .map_err(|error| refused(JobError::Files(error)))?;
        Ok(chunk.map(|chunk| (piece(chunk), output)))
    })
}

/// Output that the log holds whole; its files may be gone. Which stream it came from is not told there.
fn from_log(told: &str, offset: u64) -> Option<JobServiceReadOutputResponse> {
    let from = usize::try_from(offset).unwrap_or(usize::MAX);
    let data = told.as_bytes().get(from..)?.to_vec();
    let stream = OutputStream::Unspecified.into();
    (!data.is_empty()).then_some(JobServiceReadOutputResponse {
        offset,
        data,
        stream,
        dropped_bytes: 0,
    })
}

fn piece(chunk: quire_sandbox::job::Chunk) -> JobServiceReadOutputResponse {
    let stream = match chunk.stream {
        quire_sandbox::job::Stream::Stdout => OutputStream::Stdout,
        quire_sandbox::job::Stream::Stderr => OutputStream::Stderr,
    };
    JobServiceReadOutputResponse {
        offset: chunk.offset,
        data: chunk.bytes,
        stream: stream.into(),
        dropped_bytes: chunk.dropped,
    }
}
