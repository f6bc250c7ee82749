//! The calls that tests need; all others are refused.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::atomic::Ordering,
    task::{Context, Poll},
};

use futures_util::{Stream, StreamExt as _, stream};
use quire_proto::{
    CLIENT_KEY, TOKEN_KEY,
    v1::{
        self, SessionServiceWatchResponse as Update,
        approval_service_server::{ApprovalService, ApprovalServiceServer},
        daemon_service_server::{DaemonService, DaemonServiceServer},
        event::Body as Fact,
        session_service_server::{SessionService, SessionServiceServer},
        session_service_watch_response::Update as Kind,
        turn_service_server::{TurnService, TurnServiceServer},
    },
};
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    codegen::{BoxFuture, Service, http},
};

use super::{Play, TOKEN};

/// Hands a call to the service that its path names.
#[derive(Clone)]
pub(super) struct Dispatch(Play);

impl Dispatch {
    pub(super) fn new(play: &Play) -> Self {
        Self(play.clone())
    }
}

impl Service<http::Request<Body>> for Dispatch {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let play = self.0.clone();
        match request.uri().path().split('/').nth(1) {
            Some("quire.v1.DaemonService") => DaemonServiceServer::new(play).call(request),
            Some("quire.v1.SessionService") => SessionServiceServer::new(play).call(request),
            Some("quire.v1.TurnService") => TurnServiceServer::new(play).call(request),
            _ => ApprovalServiceServer::new(play).call(request),
        }
    }
}

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn refused<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("not in this play"))
}

fn client(request: &Request<impl Sized>) -> String {
    let token = request.metadata().get(TOKEN_KEY).unwrap();
    assert_eq!(token.to_str().unwrap(), TOKEN);
    let client = request.metadata().get(CLIENT_KEY);
    client.map_or("", |id| id.to_str().unwrap()).to_owned()
}

/// Implements a service of which only the calls written out are played.
macro_rules! service {
    ($service:ident { $($played:item)* } $($name:ident: $request:ident -> $response:ident;)*) => {
        #[tonic::async_trait]
        impl $service for Play {
            $($played)*
            $(
                async fn $name(
                    &self,
                    _: Request<v1::$request>,
                ) -> Result<Response<v1::$response>, Status> {
                    refused()
                }
            )*
        }
    };
}

service! { DaemonService {
    async fn hello(
        &self,
        request: Request<v1::DaemonServiceHelloRequest>,
    ) -> Result<Response<v1::DaemonServiceHelloResponse>, Status> {
        client(&request);
        Ok(Response::new(v1::DaemonServiceHelloResponse {
            client_id: format!("c{}", request.get_ref().pid),
            ..v1::DaemonServiceHelloResponse::default()
        }))
    }

    type WatchStream = Streamed<v1::DaemonServiceWatchResponse>;

    async fn watch(
        &self,
        _: Request<v1::DaemonServiceWatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        refused()
    }

    /// Only its answer is played: the fake goes on.
    async fn shutdown(
        &self,
        request: Request<v1::DaemonServiceShutdownRequest>,
    ) -> Result<Response<v1::DaemonServiceShutdownResponse>, Status> {
        assert_eq!(client(&request), "", "such a daemon cannot be greeted");
        if let Some(why) = self.busy {
            return Err(Status::failed_precondition(why));
        }
        self.heard(|heard| heard.retired += 1);
        Ok(Response::new(v1::DaemonServiceShutdownResponse::default()))
    }

    type TailLogStream = Streamed<v1::DaemonServiceTailLogResponse>;

    async fn tail_log(
        &self,
        _: Request<v1::DaemonServiceTailLogRequest>,
    ) -> Result<Response<Self::TailLogStream>, Status> {
        refused()
    }
}
    get_status: DaemonServiceGetStatusRequest -> DaemonServiceGetStatusResponse;
    list_clients: DaemonServiceListClientsRequest -> DaemonServiceListClientsResponse;
    list_models: DaemonServiceListModelsRequest -> DaemonServiceListModelsResponse;
}

service! { SessionService {
    async fn import(
        &self,
        _: Request<Streaming<v1::SessionServiceImportRequest>>,
    ) -> Result<Response<v1::SessionServiceImportResponse>, Status> {
        refused()
    }

    async fn update(
        &self,
        request: Request<v1::SessionServiceUpdateRequest>,
    ) -> Result<Response<v1::SessionServiceUpdateResponse>, Status> {
        if request.get_ref().world.is_some() {
            self.heard(|heard| heard.lent += 1);
        }
        Ok(Response::new(v1::SessionServiceUpdateResponse::default()))
    }

    type WatchStream = Streamed<Update>;

    /// Who is there, then the log from the cursor, then what is added.
    async fn watch(
        &self,
        request: Request<v1::SessionServiceWatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let me = v1::ClientRef {
            id: client(&request),
            ..v1::ClientRef::default()
        };
        let after = request.into_inner().after.unwrap_or_default().seq;
        self.heard(|heard| heard.watched_from.push(after));
        let clients = self.others.iter().cloned().chain([me]).collect();
        let presence = Update {
            update: Some(Kind::Presence(v1::Presence { clients })),
        };
        let log = (self.updates.subscribe(), 0);
        let log = stream::unfold(log, move |(mut log, at)| async move {
            log.wait_for(|updates| updates.len() > at).await.ok()?;
            let update = log.borrow()[at].clone();
            Some((update, (log, at + 1)))
        });
        let new = log.filter(move |update| {
            let known = matches!(&update.update, Some(Kind::Event(event)) if event.seq <= after);
            std::future::ready(!known)
        });
        let updates = stream::iter([presence]).chain(new).map(Ok);
        Ok(Response::new(Box::pin(updates)))
    }

    type ExportStream = Streamed<v1::SessionServiceExportResponse>;

    async fn export(
        &self,
        _: Request<v1::SessionServiceExportRequest>,
    ) -> Result<Response<Self::ExportStream>, Status> {
        refused()
    }
}
    create: SessionServiceCreateRequest -> SessionServiceCreateResponse;
    get: SessionServiceGetRequest -> SessionServiceGetResponse;
    list: SessionServiceListRequest -> SessionServiceListResponse;
    get_world: SessionServiceGetWorldRequest -> SessionServiceGetWorldResponse;
    fork: SessionServiceForkRequest -> SessionServiceForkResponse;
    archive: SessionServiceArchiveRequest -> SessionServiceArchiveResponse;
    delete: SessionServiceDeleteRequest -> SessionServiceDeleteResponse;
    search: SessionServiceSearchRequest -> SessionServiceSearchResponse;
    list_events: SessionServiceListEventsRequest -> SessionServiceListEventsResponse;
}

service! { TurnService {
    async fn prompt(
        &self,
        request: Request<v1::TurnServicePromptRequest>,
    ) -> Result<Response<v1::TurnServicePromptResponse>, Status> {
        if let Some(why) = self.busy {
            return Err(Status::failed_precondition(why));
        }
        let id = request.into_inner().request_id;
        self.heard(|heard| heard.prompted.push(id));
        let less = |left: u32| left.checked_sub(1);
        let (set, get) = (Ordering::SeqCst, Ordering::SeqCst);
        if self.dies_when_prompted.fetch_update(set, get, less).is_ok() {
            return Err(Status::unavailable("the connection broke"));
        }
        let turn = 1;
        Ok(Response::new(v1::TurnServicePromptResponse {
            turn,
            ..v1::TurnServicePromptResponse::default()
        }))
    }

    /// The turn ends as interrupted.
    async fn interrupt(
        &self,
        request: Request<v1::TurnServiceInterruptRequest>,
    ) -> Result<Response<v1::TurnServiceInterruptResponse>, Status> {
        let request = request.into_inner();
        let turn = request.expected_turn;
        self.heard(|heard| heard.interrupted.push(request));
        self.happen(Fact::TurnEnded(v1::TurnEnded {
            turn,
            stop_reason: v1::StopReason::Interrupted.into(),
            ..v1::TurnEnded::default()
        }));
        Ok(Response::new(v1::TurnServiceInterruptResponse { turn }))
    }
}
    list_queue: TurnServiceListQueueRequest -> TurnServiceListQueueResponse;
    change_queued: TurnServiceChangeQueuedRequest -> TurnServiceChangeQueuedResponse;
    remove_queued: TurnServiceRemoveQueuedRequest -> TurnServiceRemoveQueuedResponse;
    compact: TurnServiceCompactRequest -> TurnServiceCompactResponse;
    rewind: TurnServiceRewindRequest -> TurnServiceRewindResponse;
    wait: TurnServiceWaitRequest -> TurnServiceWaitResponse;
}

service! { ApprovalService {
    /// The turn ends as denied.
    async fn decide(
        &self,
        request: Request<v1::ApprovalServiceDecideRequest>,
    ) -> Result<Response<v1::ApprovalServiceDecideResponse>, Status> {
        let request = request.into_inner();
        self.happen(Fact::ApprovalDecided(v1::ApprovalDecided {
            id: request.approval,
            answer: Some(v1::ApprovalAnswer {
                verdict: request.verdict,
                message: request.message.clone(),
                ..v1::ApprovalAnswer::default()
            }),
        }));
        self.heard(|heard| heard.decided.push(request));
        self.happen(Fact::TurnEnded(v1::TurnEnded {
            turn: 1,
            stop_reason: v1::StopReason::Denied.into(),
            ..v1::TurnEnded::default()
        }));
        Ok(Response::new(v1::ApprovalServiceDecideResponse::default()))
    }
}
    list: ApprovalServiceListRequest -> ApprovalServiceListResponse;
}
