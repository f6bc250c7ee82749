//! `JobService`.

mod known;

use std::{pin::Pin, time::Duration};

use futures_util::{Stream, stream};
use quire_proto::v1::{
    Job, JobServiceDetachRequest, JobServiceDetachResponse, JobServiceGetRequest,
    JobServiceGetResponse, JobServiceListRequest, JobServiceListResponse,
    JobServiceReadOutputRequest, JobServiceReadOutputResponse, JobServiceResizeRequest,
    JobServiceResizeResponse, JobServiceSignalRequest, JobServiceSignalResponse,
    JobServiceStartRequest, JobServiceStartResponse, JobServiceWaitRequest, JobServiceWaitResponse,
    JobServiceWriteRequest, JobServiceWriteResponse, JobState, OutputStream,
    job_service_server::JobService,
};
use tonic::{Code, Request, Response, Status};

use self::known::{names, refused};
use super::{
    Services,
    refusals::{invalid, not_yet},
    turn::carried_out,
};
use crate::{
    adapters::jobs::{Adopted, Follow, JobError, snapshot},
    edge::status::refuse,
};
use quire_sandbox::spec::Size;

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
            let session = self.session(&request.session).await?;
            self.jobs_of(session.id()).await?
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
        let caller = self.caller(&request, &request.get_ref().request_id)?;
        let request = request.into_inner();
        let job = self.running(&request.job).await?;
        if !(1..=64).contains(&request.signal) {
            return Err(invalid(format!(
                "{} is not a signal number: 15 asks it to end, 9 kills it",
                request.signal
            )));
        }
        let id = asked_by(&caller.request_id);
        job.signal(Some(&id), request.signal)
            .await
            .map_err(refused)?;
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
        let told = if self.session_exists(&session).await? {
            let handle = self.sessions.open(&session).await?;
            handle.told_output(&id).await?
        } else {
            None
        };
        if let Some(told) = told {
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
        let caller = self.caller(&request, &request.get_ref().request_id)?;
        let request = request.into_inner();
        let job = self.running(&request.job).await?;
        let id = asked_by(&caller.request_id);
        let written = async move {
            job.write(Some(&id), &request.data).await?;
            if request.close {
                job.close_stdin().await?;
            }
            Ok(())
        };
        to_its_end(written).await?;
        Ok(Response::new(JobServiceWriteResponse {}))
    }

    async fn resize(
        &self,
        request: Request<JobServiceResizeRequest>,
    ) -> Result<Response<JobServiceResizeResponse>, Status> {
        self.caller(&request, &request.get_ref().request_id)?;
        let request = request.into_inner();
        let size = Size {
            columns: characters(request.columns)?,
            rows: characters(request.rows)?,
        };
        let job = self.running(&request.job).await?;
        job.resize(size).await.map_err(refused)?;
        Ok(Response::new(JobServiceResizeResponse {}))
    }

    async fn detach(
        &self,
        request: Request<JobServiceDetachRequest>,
    ) -> Result<Response<JobServiceDetachResponse>, Status> {
        let caller = self.caller(&request, &request.get_ref().request_id)?;
        let job = self.job(&request.get_ref().job).await?;
        let (session, id) = names(&job)?;
        let job = if self.session_exists(&session).await? {
            let handle = self.sessions.open(&session).await?;
            carried_out(async move { handle.detach(caller, id).await }).await?
        } else {
            // Nothing else outlives its session.
            job
        };
        Ok(Response::new(JobServiceDetachResponse { job: Some(job) }))
    }
}

/// What a keeper knows a client's request by.
fn asked_by(request_id: &str) -> String {
    format!("request-{request_id}")
}

/// A length of a terminal's side.
fn characters(count: u32) -> Result<u16, Status> {
    match u16::try_from(count) {
        Ok(count @ 1..) => Ok(count),
        Ok(0) | Err(_) => Err(invalid(format!(
            "{count} is no size of a terminal: give `columns` and `rows` from 1 to 65535"
        ))),
    }
}

/// Runs to its end even if the caller leaves.
async fn to_its_end(
    asked: impl Future<Output = Result<(), JobError>> + Send + 'static,
) -> Result<(), Status> {
    match tokio::spawn(asked).await {
        Ok(answer) => answer.map_err(refused),
        Err(error) => {
            tracing::error!(%error, "a request to a job panicked");
            Err(refused(JobError::Gone))
        }
    }
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
