//! The gRPC services: decode, ask, encode. Nothing is decided here.

mod approval;
mod capabilities;
mod clients;
mod daemon;
mod dashboard;
mod export;
mod fork;
mod import;
mod job;
mod refusals;
mod search;
mod session;
mod tail_log;
mod turn;
mod watch;
mod workspace;

pub use clients::Clients;

use std::sync::Arc;

use quire_proto::{
    id::RequestId,
    v1::{
        SandboxReport, approval_service_server::ApprovalServiceServer,
        daemon_service_server::DaemonServiceServer, job_service_server::JobServiceServer,
        session_service_server::SessionServiceServer, turn_service_server::TurnServiceServer,
        workspace_service_server::WorkspaceServiceServer,
    },
};
use tonic::{Request, Status};

use crate::{
    adapters::jobs::Jobs,
    edge::{
        lifecycle::{MESSAGE_MAX, Routes, Start},
        registry::Sessions,
        settings::Settings,
        status::refuse,
    },
    session::{Caller, Handle},
};

/// What every service knows.
#[derive(Clone)]
pub struct Services {
    sessions: Sessions,
    clients: Clients,
    settings: Arc<Settings>,
    jobs: Jobs,
    sandbox: SandboxReport,
    start: Start,
    /// Held while an import takes a name.
    importing: Arc<tokio::sync::Mutex<()>>,
}

impl Services {
    /// Services over the sessions of this daemon.
    #[must_use]
    pub fn new(
        sessions: Sessions,
        settings: Settings,
        jobs: Jobs,
        sandbox: SandboxReport,
        start: Start,
    ) -> Self {
        Self {
            sessions,
            clients: Clients::default(),
            settings: Arc::new(settings),
            jobs,
            sandbox,
            start,
            importing: Arc::default(),
        }
    }

    /// The services by name.
    #[must_use]
    pub fn routes(&self) -> Routes {
        Routes::new()
            .add_service(
                DaemonServiceServer::new(self.clone()).max_decoding_message_size(MESSAGE_MAX),
            )
            .add_service(
                SessionServiceServer::new(self.clone()).max_decoding_message_size(MESSAGE_MAX),
            )
            .add_service(
                TurnServiceServer::new(self.clone()).max_decoding_message_size(MESSAGE_MAX),
            )
            .add_service(JobServiceServer::new(self.clone()).max_decoding_message_size(MESSAGE_MAX))
            .add_service(
                WorkspaceServiceServer::new(self.clone()).max_decoding_message_size(MESSAGE_MAX),
            )
            .add_service(
                ApprovalServiceServer::new(self.clone()).max_decoding_message_size(MESSAGE_MAX),
            )
    }

    /// Who asks, by which request. Observers may not act.
    fn caller<T>(&self, request: &Request<T>, request_id: &str) -> Result<Caller, Status> {
        if request_id.is_empty() {
            let message = "`request_id` is missing: give a new one with each new request, the same when you repeat it";
            return Err(refusals::invalid(message));
        }
        let request_id: RequestId = request_id.parse().map_err(refusals::bad_id)?;
        let by = self.clients.of(request.metadata());
        if by.as_ref().is_some_and(|client| client.observer) {
            let message = "this client only watches: attach without --read-only to act";
            return Err(refuse(tonic::Code::PermissionDenied, "OBSERVER", message));
        }
        Ok(Caller {
            by,
            request_id: request_id.to_string(),
        })
    }

    /// The session that a request names.
    async fn session(&self, name: &str) -> Result<Handle, Status> {
        if name.is_empty() {
            return Err(refusals::invalid(
                "`session` is missing: give an id, a unique prefix, a title or @last",
            ));
        }
        Ok(self.sessions.find(name).await?)
    }
}
