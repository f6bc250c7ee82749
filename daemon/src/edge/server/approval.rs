//! `ApprovalService`.

use quire_proto::v1::{
    ApprovalAnswer, ApprovalServiceDecideRequest, ApprovalServiceDecideResponse,
    ApprovalServiceListRequest, ApprovalServiceListResponse, ApprovalVerdict,
    approval_service_server::ApprovalService,
};
use tonic::{Request, Response, Status};

use super::{Services, refusals::invalid, turn::carried_out};

#[tonic::async_trait]
impl ApprovalService for Services {
    async fn list(
        &self,
        request: Request<ApprovalServiceListRequest>,
    ) -> Result<Response<ApprovalServiceListResponse>, Status> {
        let session = request.into_inner().session;
        let approvals = if session.is_empty() {
            self.sessions.approvals().await?
        } else {
            self.session(&session).await?.look().await?.approvals
        };
        Ok(Response::new(ApprovalServiceListResponse { approvals }))
    }

    async fn decide(
        &self,
        request: Request<ApprovalServiceDecideRequest>,
    ) -> Result<Response<ApprovalServiceDecideResponse>, Status> {
        let caller = self.caller(&request, &request.get_ref().request_id)?;
        let request = request.into_inner();
        if request.verdict() == ApprovalVerdict::Unspecified {
            return Err(invalid("`verdict` is missing: once, session, rule or deny"));
        }
        let session = self.session(&request.session).await?;
        let answer = ApprovalAnswer {
            verdict: request.verdict,
            message: request.message,
            stop: request.stop,
            ..ApprovalAnswer::default()
        };
        let approval =
            carried_out(async move { session.decide(caller, request.approval, answer).await })
                .await?;
        Ok(Response::new(ApprovalServiceDecideResponse {
            approval: Some(approval),
        }))
    }
}
