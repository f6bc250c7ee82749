//! `DaemonService`.

use std::pin::Pin;

use futures_util::Stream;
use quire_proto::{
    Standing, protocol, standing,
    v1::{
        ClientRef, DaemonServiceGetStatusRequest, DaemonServiceGetStatusResponse,
        DaemonServiceHelloRequest, DaemonServiceHelloResponse, DaemonServiceListClientsRequest,
        DaemonServiceListClientsResponse, DaemonServiceListModelsRequest,
        DaemonServiceListModelsResponse, DaemonServiceShutdownRequest,
        DaemonServiceShutdownResponse, DaemonServiceTailLogRequest, DaemonServiceTailLogResponse,
        DaemonServiceWatchRequest, DaemonServiceWatchResponse, ShutdownMode,
        daemon_service_server::DaemonService,
    },
    version,
};
use tonic::{Code, Request, Response, Status};

use super::{
    Services, capabilities::CAPABILITIES, dashboard::dashboard, refusals::invalid,
    session::heartbeat, tail_log,
};
use crate::edge::{lifecycle::peer, status::refuse};

/// Lines of the log, unless asked otherwise.
const LOG_LINES: u32 = 200;

#[tonic::async_trait]
impl DaemonService for Services {
    async fn hello(
        &self,
        request: Request<DaemonServiceHelloRequest>,
    ) -> Result<Response<DaemonServiceHelloResponse>, Status> {
        let peer = peer(&request);
        let hello = request.into_inner();
        let ours = protocol();
        let theirs = hello.protocol.unwrap_or(ours);
        if standing(theirs, ours) != Standing::Overlaps {
            let message = format!(
                "the client speaks protocol {} to {} and this daemon {} to {}: use the same version of both, \
                 or `quire daemon restart` after an upgrade",
                theirs.min, theirs.max, ours.min, ours.max
            );
            return Err(refuse(Code::FailedPrecondition, "PROTOCOL", message));
        }
        let Some(client) = self.clients.introduce(&hello, peer.as_ref()) else {
            let message = "this connection has introduced too many clients: open another one";
            return Err(refuse(Code::ResourceExhausted, "TOO_MANY_CLIENTS", message));
        };
        Ok(Response::new(DaemonServiceHelloResponse {
            protocol: Some(ours),
            daemon_version: version().into_owned(),
            instance_id: self.start.instance.id.clone(),
            client_id: client.id,
            capabilities: CAPABILITIES.map(str::to_owned).into(),
            sandbox: Some(self.sandbox.clone()),
            notices: self.start.notices.all(),
        }))
    }

    async fn get_status(
        &self,
        _request: Request<DaemonServiceGetStatusRequest>,
    ) -> Result<Response<DaemonServiceGetStatusResponse>, Status> {
        let load = self.sessions.load();
        Ok(Response::new(DaemonServiceGetStatusResponse {
            pid: std::process::id(),
            version: version().into_owned(),
            instance_id: self.start.instance.id.clone(),
            started_ms: self.start.instance.started_ms,
            state_dir: self.start.home.state().display().to_string(),
            socket: self.start.instance.socket.display().to_string(),
            sessions: load.sessions,
            running_turns: load.turns,
            running_jobs: load.jobs,
            clients: u32::try_from(self.clients.all().len()).unwrap_or(u32::MAX),
            draining: self.start.shutdown.is_draining(),
            sandbox: Some(self.sandbox.clone()),
            resident_bytes: resident_bytes(),
            notices: self.start.notices.all(),
        }))
    }

    type WatchStream =
        Pin<Box<dyn Stream<Item = Result<DaemonServiceWatchResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<DaemonServiceWatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let heartbeat = heartbeat(request.get_ref().heartbeat_ms);
        Ok(Response::new(Box::pin(dashboard(self.clone(), heartbeat))))
    }

    async fn shutdown(
        &self,
        request: Request<DaemonServiceShutdownRequest>,
    ) -> Result<Response<DaemonServiceShutdownResponse>, Status> {
        let caller = self.caller(&request, &request.get_ref().request_id)?;
        let mode = request.get_ref().mode();
        match mode {
            ShutdownMode::Unspecified => {
                return Err(invalid("`mode` is missing: if idle, drain or now"));
            }
            ShutdownMode::IfIdle => self.retire(caller.by.as_ref())?,
            ShutdownMode::Drain | ShutdownMode::Now => {}
        }
        let by = caller
            .by
            .map_or_else(|| "a client".to_owned(), |client| client.name);
        if mode == ShutdownMode::Now {
            self.start
                .shutdown
                .end_now(format_args!("asked for by {by}"));
        } else {
            self.start.shutdown.drain(format_args!("asked for by {by}"));
        }
        Ok(Response::new(DaemonServiceShutdownResponse {
            pid: std::process::id(),
        }))
    }

    async fn list_clients(
        &self,
        _request: Request<DaemonServiceListClientsRequest>,
    ) -> Result<Response<DaemonServiceListClientsResponse>, Status> {
        Ok(Response::new(DaemonServiceListClientsResponse {
            clients: self.clients.all(),
        }))
    }

    type TailLogStream =
        Pin<Box<dyn Stream<Item = Result<DaemonServiceTailLogResponse, Status>> + Send>>;

    async fn tail_log(
        &self,
        request: Request<DaemonServiceTailLogRequest>,
    ) -> Result<Response<Self::TailLogStream>, Status> {
        let DaemonServiceTailLogRequest { lines, follow } = request.into_inner();
        let lines = if lines == 0 {
            LOG_LINES
        } else {
            lines.min(10 * LOG_LINES)
        };
        let path = self.start.home.logs().join("quired.log");
        Ok(Response::new(Box::pin(tail_log::tail(
            path,
            lines as usize,
            follow,
        ))))
    }

    async fn list_models(
        &self,
        request: Request<DaemonServiceListModelsRequest>,
    ) -> Result<Response<DaemonServiceListModelsResponse>, Status> {
        let world = request.into_inner().world.unwrap_or_default();
        let listed = self.settings.models(&world).await?;
        Ok(Response::new(listed))
    }
}

impl Services {
    /// Makes sure that nothing and nobody but `caller` needs this daemon, and that no session is made any
    /// more. A prompt that is acknowledged in this very moment is on disk: the next daemon begins its turn.
    fn retire(&self, caller: Option<&ClientRef>) -> Result<(), Status> {
        let clients = self.clients.all().into_iter();
        let others = clients.filter(|client| Some(client) != caller).count();
        // Last, as it can't be taken back.
        if others == 0 && self.sessions.retire() {
            return Ok(());
        }
        let load = self.sessions.load();
        let message = format!(
            "the daemon is busy: {} turns, {} jobs, {} queued prompts, {others} other clients",
            load.turns, load.jobs, load.queued
        );
        Err(refuse(Code::FailedPrecondition, "BUSY", message))
    }
}

/// Resident bytes of this process; 0 where the system does not tell.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: Option<u64> = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or_default() * rustix::param::page_size() as u64
}
