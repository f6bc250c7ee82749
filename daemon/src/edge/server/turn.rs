//! `TurnService`.

use std::{future::Future, time::Duration};

use quire_proto::v1::{
    PromptItem, PromptMode, TurnServiceChangeQueuedRequest, TurnServiceChangeQueuedResponse,
    TurnServiceCompactRequest, TurnServiceCompactResponse, TurnServiceInterruptRequest,
    TurnServiceInterruptResponse, TurnServiceListQueueRequest, TurnServiceListQueueResponse,
    TurnServicePromptRequest, TurnServicePromptResponse, TurnServiceRemoveQueuedRequest,
    TurnServiceRemoveQueuedResponse, TurnServiceRewindRequest, TurnServiceRewindResponse,
    TurnServiceWaitRequest, TurnServiceWaitResponse, turn_service_server::TurnService,
};
use tonic::{Code, Request, Response, Status};

use super::{
    Services,
    refusals::{invalid, not_yet},
};
use crate::{
    edge::status::refuse,
    session::{QueueChange, Refusal},
};

#[tonic::async_trait]
impl TurnService for Services {
    async fn prompt(
        &self,
        request: Request<TurnServicePromptRequest>,
    ) -> Result<Response<TurnServicePromptResponse>, Status> {
        let caller = self.caller(&request, &request.get_ref().request_id)?;
        let request = request.into_inner();
        let mode = request.mode();
        let prompt = said(request.prompt.unwrap_or_default())?;
        let session = self.session(&request.session).await?;
        let mode = if mode == PromptMode::Unspecified {
            PromptMode::Steer
        } else {
            mode
        };
        let expected = request.expected_turn;
        let answer =
            carried_out(async move { session.prompt(caller, prompt, mode, expected).await })
                .await?;
        let turn = answer.turn.map_or(0, |turn| turn.get());
        Ok(Response::new(TurnServicePromptResponse {
            turn,
            seq: answer.seq,
        }))
    }

    async fn list_queue(
        &self,
        request: Request<TurnServiceListQueueRequest>,
    ) -> Result<Response<TurnServiceListQueueResponse>, Status> {
        let looked = self
            .session(&request.get_ref().session)
            .await?
            .look()
            .await?;
        Ok(Response::new(TurnServiceListQueueResponse {
            prompts: looked.queue,
        }))
    }

    async fn change_queued(
        &self,
        request: Request<TurnServiceChangeQueuedRequest>,
    ) -> Result<Response<TurnServiceChangeQueuedResponse>, Status> {
        let caller = self.caller(&request, &request.get_ref().request_id)?;
        let request = request.into_inner();
        named(&request.prompt_request_id)?;
        if request.prompt.is_none() && request.before.is_none() {
            return Err(invalid(
                "nothing is to change: give `prompt` to edit it, `before` to move it",
            ));
        }
        let change = QueueChange {
            prompt: request.prompt_request_id,
            said: request.prompt.map(said).transpose()?,
            before: request.before,
        };
        let session = self.session(&request.session).await?;
        let prompts =
            carried_out(async move { session.change_queued(caller, change).await }).await?;
        Ok(Response::new(TurnServiceChangeQueuedResponse { prompts }))
    }

    async fn remove_queued(
        &self,
        request: Request<TurnServiceRemoveQueuedRequest>,
    ) -> Result<Response<TurnServiceRemoveQueuedResponse>, Status> {
        let caller = self.caller(&request, &request.get_ref().request_id)?;
        let request = request.into_inner();
        named(&request.prompt_request_id)?;
        let session = self.session(&request.session).await?;
        carried_out(async move { session.unqueue(caller, request.prompt_request_id).await })
            .await?;
        Ok(Response::new(TurnServiceRemoveQueuedResponse {}))
    }

    async fn interrupt(
        &self,
        request: Request<TurnServiceInterruptRequest>,
    ) -> Result<Response<TurnServiceInterruptResponse>, Status> {
        let caller = self.caller(&request, &request.get_ref().request_id)?;
        let request = request.into_inner();
        let session = self.session(&request.session).await?;
        let turn =
            carried_out(async move { session.interrupt(caller, request.expected_turn).await })
                .await?;
        Ok(Response::new(TurnServiceInterruptResponse { turn }))
    }

    async fn compact(
        &self,
        _request: Request<TurnServiceCompactRequest>,
    ) -> Result<Response<TurnServiceCompactResponse>, Status> {
        Err(not_yet("compaction"))
    }

    async fn rewind(
        &self,
        _request: Request<TurnServiceRewindRequest>,
    ) -> Result<Response<TurnServiceRewindResponse>, Status> {
        Err(not_yet("rewinding"))
    }

    async fn wait(
        &self,
        request: Request<TurnServiceWaitRequest>,
    ) -> Result<Response<TurnServiceWaitResponse>, Status> {
        let TurnServiceWaitRequest {
            session,
            timeout_ms,
        } = request.into_inner();
        let session = self.session(&session).await?;
        let resting = match u64::try_from(timeout_ms) {
            Ok(0) => session.wait().await?,
            Ok(timeout) => tokio::time::timeout(Duration::from_millis(timeout), session.wait())
                .await
                .map_err(|_| {
                    refuse(
                        Code::DeadlineExceeded,
                        "STILL_RUNNING",
                        "the session still works",
                    )
                })??,
            Err(_) => return Err(invalid("`timeout_ms` is negative: give 0 for no limit")),
        };
        Ok(Response::new(TurnServiceWaitResponse {
            stop_reason: resting.stop_reason.into(),
            turn: resting.turn,
            needs_approval: resting.needs_approval,
            suspended: resting.suspended,
            error: resting.error,
            error_kind: resting.error_kind,
        }))
    }
}

/// What a person says, which is something, and never how a job ended.
fn said(prompt: PromptItem) -> Result<PromptItem, Status> {
    if prompt.text.trim().is_empty() && prompt.images.is_empty() {
        return Err(invalid("the prompt is empty: say what to do"));
    }
    Ok(PromptItem {
        job_id: String::new(),
        ..prompt
    })
}

fn named(prompt_request_id: &str) -> Result<(), Status> {
    if prompt_request_id.is_empty() {
        let message =
            "`prompt_request_id` is missing: give the `request_id` the prompt was sent with";
        return Err(invalid(message));
    }
    Ok(())
}

/// Runs to its end even if the caller leaves.
pub(super) async fn carried_out<T: Send + 'static>(
    act: impl Future<Output = Result<T, Refusal>> + Send + 'static,
) -> Result<T, Status> {
    match tokio::spawn(act).await {
        Ok(result) => Ok(result?),
        Err(error) => {
            tracing::error!(%error, "a request panicked");
            Err(refuse(
                Code::Internal,
                "INTERNAL",
                "quire itself failed; the daemon's log says where",
            ))
        }
    }
}
