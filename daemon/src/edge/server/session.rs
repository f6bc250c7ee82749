//! `SessionService`.

use std::{path::Path, pin::Pin, sync::Arc, time::Duration};

use futures_util::{Stream, TryStreamExt as _};
use quire_proto::{
    id::{RequestId, SessionId},
    v1::{
        ApprovePolicy, ClientWorld, Job, JobLifetime, SandboxMode, Session, SessionCreated,
        SessionServiceArchiveRequest, SessionServiceArchiveResponse, SessionServiceCreateRequest,
        SessionServiceCreateResponse, SessionServiceDeleteRequest, SessionServiceDeleteResponse,
        SessionServiceExportRequest, SessionServiceExportResponse, SessionServiceForkRequest,
        SessionServiceForkResponse, SessionServiceGetRequest, SessionServiceGetResponse,
        SessionServiceGetWorldRequest, SessionServiceGetWorldResponse, SessionServiceImportRequest,
        SessionServiceImportResponse, SessionServiceListEventsRequest,
        SessionServiceListEventsResponse, SessionServiceListRequest, SessionServiceListResponse,
        SessionServiceSearchRequest, SessionServiceSearchResponse, SessionServiceUpdateRequest,
        SessionServiceUpdateResponse, SessionServiceWatchRequest, SessionServiceWatchResponse,
        SessionState, session_service_server::SessionService,
    },
};
use tonic::{Code, Request, Response, Status};

use super::{
    Services,
    refusals::{bad_id, invalid},
    turn::carried_out,
    watch::{self, watch},
};
use crate::{
    adapters::{jobs::Jobs, store::Listing},
    edge::{
        registry::{New, with_clients},
        settings::Wish,
        status::refuse,
    },
    pure::secrets::{Parted, part},
    session::{Change, Handle, Held, Lending, Lent, Surroundings},
};

/// Sessions on a page of `List`, unless asked otherwise.
const PAGE: u32 = 100;
/// Events on a page of `ListEvents`, unless asked otherwise, and at most.
const EVENTS: (u32, u32) = (1_000, 10_000);
/// Heartbeats of `Watch`, unless asked otherwise, and at the least.
const HEARTBEAT_MS: (u32, u32) = (15_000, 1_000);

#[tonic::async_trait]
impl SessionService for Services {
    async fn create(
        &self,
        request: Request<SessionServiceCreateRequest>,
    ) -> Result<Response<SessionServiceCreateResponse>, Status> {
        let caller = self.caller(&request, &request.get_ref().request_id)?;
        let request = request.into_inner();
        let world = request
            .world
            .ok_or_else(|| invalid("`world` is missing: give at least its `cwd`"))?;
        directory("world.cwd", &world.cwd)?;
        for added in &request.add_dirs {
            directory("add_dirs", added)?;
        }
        let surroundings = surroundings(&world);
        let wish = Wish {
            model: request.model,
            policy: request.policy,
            add_dirs: request.add_dirs,
        };
        let settled = self
            .settings
            .settle(Path::new(&world.cwd), &surroundings.environment, wish)
            .await?;
        let created = SessionCreated {
            workspace: settled.workspace.display().to_string(),
            cwd: world.cwd,
            title: request.title,
            model: settled.model,
            policy: Some(settled.policy),
            ..SessionCreated::default()
        };
        let new = New {
            created,
            notices: settled.notices,
            surroundings,
        };
        let request_id = caller.request_id.parse().map_err(bad_id)?;
        let sessions = self.sessions.clone();
        let by = caller.by;
        let making = async move { Ok(sessions.create(&request_id, by, new).await?) };
        let session = Some(carried_out(making).await?);
        Ok(Response::new(SessionServiceCreateResponse { session }))
    }

    async fn get(
        &self,
        request: Request<SessionServiceGetRequest>,
    ) -> Result<Response<SessionServiceGetResponse>, Status> {
        let handle = self.session(&request.get_ref().session).await?;
        let session = Some(with_clients(handle.feed().summary(), &handle));
        Ok(Response::new(SessionServiceGetResponse { session }))
    }

    async fn list(
        &self,
        request: Request<SessionServiceListRequest>,
    ) -> Result<Response<SessionServiceListResponse>, Status> {
        let request = request.into_inner();
        let limit = if request.page_size == 0 {
            PAGE
        } else {
            request.page_size
        };
        let listing = Listing {
            include_archived: request.include_archived,
            workspace: (!request.workspace.is_empty()).then_some(request.workspace),
            limit,
            before: before(&request.page_token)?,
        };
        let sessions = self.sessions.list(listing).await?;
        let full = u32::try_from(sessions.len()).is_ok_and(|count| count == limit);
        let next_page_token = sessions
            .last()
            .filter(|_| full)
            .map(token)
            .unwrap_or_default();
        Ok(Response::new(SessionServiceListResponse {
            sessions,
            next_page_token,
        }))
    }

    async fn update(
        &self,
        request: Request<SessionServiceUpdateRequest>,
    ) -> Result<Response<SessionServiceUpdateResponse>, Status> {
        let caller = self.caller(&request, &request.get_ref().request_id)?;
        let request = request.into_inner();
        let wanted = request.session.unwrap_or_default();
        let handle = self.session(&wanted.id).await?;
        let how = match request.replace_world {
            true => Lending::Replaces,
            false => Lending::Completes,
        };
        let lent = |world| Lent {
            world: surroundings(world),
            how,
        };
        let mut change = Change {
            world: request.world.as_ref().map(lent),
            ..Change::default()
        };
        let known = handle.look().await?.session;
        for path in request.update_mask.unwrap_or_default().paths {
            self.change_field(&path, &wanted, (&known, &handle), &mut change)
                .await?;
        }
        let changed = handle.clone();
        let session = carried_out(async move { changed.change(caller, change).await }).await?;
        Ok(Response::new(SessionServiceUpdateResponse {
            session: Some(with_clients(session, &handle)),
        }))
    }

    async fn get_world(
        &self,
        request: Request<SessionServiceGetWorldRequest>,
    ) -> Result<Response<SessionServiceGetWorldResponse>, Status> {
        let handle = self.session(&request.get_ref().session).await?;
        let world = handle.surroundings();
        let keys = self.sessions.world().models.keys();
        let Parted { open, secrets } = part(&world.environment, &keys);
        Ok(Response::new(SessionServiceGetWorldResponse {
            world: Some(ClientWorld {
                cwd: handle.look().await?.session.cwd,
                environment: open.into_iter().collect(),
                umask: world.umask,
            }),
            secrets,
            wanted: handle.wants_world(),
        }))
    }

    async fn fork(
        &self,
        request: Request<SessionServiceForkRequest>,
    ) -> Result<Response<SessionServiceForkResponse>, Status> {
        let session = Some(self.fork_session(request).await?);
        Ok(Response::new(SessionServiceForkResponse { session }))
    }

    async fn archive(
        &self,
        request: Request<SessionServiceArchiveRequest>,
    ) -> Result<Response<SessionServiceArchiveResponse>, Status> {
        let caller = self.caller(&request, &request.get_ref().request_id)?;
        let request = request.into_inner();
        let handle = self.session(&request.session).await?;
        let change = Change {
            archived: Some(!request.restore),
            ..Change::default()
        };
        let session = carried_out(async move { handle.change(caller, change).await }).await?;
        Ok(Response::new(SessionServiceArchiveResponse {
            session: Some(session),
        }))
    }

    async fn delete(
        &self,
        request: Request<SessionServiceDeleteRequest>,
    ) -> Result<Response<SessionServiceDeleteResponse>, Status> {
        let caller = self.caller(&request, &request.get_ref().request_id)?;
        let request_id: RequestId = caller.request_id.parse().map_err(bad_id)?;
        if self.sessions.store().deletion(&request_id).await?.is_some() {
            return Ok(Response::new(SessionServiceDeleteResponse {}));
        }
        let handle = match self.session(&request.get_ref().session).await {
            Ok(handle) => handle,
            Err(refused) => {
                self.delete_unopened(&request.get_ref().session, &request_id, refused)
                    .await?;
                return Ok(Response::new(SessionServiceDeleteResponse {}));
            }
        };
        let (sessions, kept) = (self.sessions.clone(), self.jobs.clone());
        carried_out(async move {
            let Some(mut jobs) = sessions.delete(&handle, &request_id).await? else {
                return Ok(());
            };
            jobs.retain(|job| job.lifetime() != JobLifetime::Detached);
            forget(&kept, handle.id(), &jobs);
            Ok(())
        })
        .await?;
        Ok(Response::new(SessionServiceDeleteResponse {}))
    }

    async fn search(
        &self,
        request: Request<SessionServiceSearchRequest>,
    ) -> Result<Response<SessionServiceSearchResponse>, Status> {
        Ok(Response::new(self.search_all(request.into_inner()).await?))
    }

    type ExportStream =
        Pin<Box<dyn Stream<Item = Result<SessionServiceExportResponse, Status>> + Send>>;

    async fn export(
        &self,
        request: Request<SessionServiceExportRequest>,
    ) -> Result<Response<Self::ExportStream>, Status> {
        let pieces = self.export_session(request.into_inner()).await?;
        Ok(Response::new(Box::pin(pieces)))
    }

    async fn import(
        &self,
        request: Request<tonic::Streaming<SessionServiceImportRequest>>,
    ) -> Result<Response<SessionServiceImportResponse>, Status> {
        Ok(Response::new(self.import_session(request).await?))
    }

    type WatchStream =
        Pin<Box<dyn Stream<Item = Result<SessionServiceWatchResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<SessionServiceWatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let client = self.clients.of(request.metadata());
        let request = request.into_inner();
        let handle = self.session(&request.session).await?;
        let head = handle.feed().summary().head_seq;
        if let Some(cursor) = &request.after
            && cursor.seq > head
        {
            let message = format!(
                "the cursor is at event {} and the history ends at {head}: events were lost; watch from the beginning",
                cursor.seq
            );
            return Err(refuse(Code::DataLoss, "HISTORY_SHORTER", message));
        }
        let heartbeat = heartbeat(request.heartbeat_ms);
        let store = self.sessions.store().clone();
        let updates = watch(handle, store, watch::Wish::of(request, heartbeat), client);
        let shutdown = self.start.shutdown.clone();
        // An end that was asked for is told from a session that closed: nobody need worry about it.
        let updates = updates.map_err(move |status| match shutdown.is_draining() {
            true => refuse(
                Code::Unavailable,
                "DRAINING",
                "the daemon ends: watch the next one from your cursor",
            ),
            false => status,
        });
        Ok(Response::new(Box::pin(updates)))
    }

    async fn list_events(
        &self,
        request: Request<SessionServiceListEventsRequest>,
    ) -> Result<Response<SessionServiceListEventsResponse>, Status> {
        let request = request.into_inner();
        let handle = self.session(&request.session).await?;
        let limit = match request.page_size {
            0 => EVENTS.0,
            wanted => wanted.min(EVENTS.1),
        };
        let head_seq = handle.feed().summary().head_seq;
        let events = self
            .sessions
            .store()
            .events(handle.id(), request.after_seq, limit)
            .await?;
        Ok(Response::new(SessionServiceListEventsResponse {
            events,
            head_seq,
        }))
    }
}

impl Services {
    /// Removes a session that could not be opened because its log is damaged; its jobs are not known.
    /// Otherwise it stays `refused`, unless the same request has removed the session meanwhile.
    async fn delete_unopened(
        &self,
        name: &str,
        request: &RequestId,
        refused: Status,
    ) -> Result<(), Status> {
        let store = self.sessions.store();
        if store.deletion(request).await?.is_some() {
            return Ok(());
        }
        match store.find(name).await?.as_slice() {
            [session] if !name.is_empty() && session.damaged_seq != 0 => {
                let id = session.id.parse().map_err(bad_id)?;
                store.delete(&id, request).await?;
                self.sessions.world().worlds.forget(&id).await;
                self.sessions.world().board.deleted(&id);
                Ok(())
            }
            _ => Err(refused),
        }
    }

    /// One field of an update mask.
    async fn change_field(
        &self,
        path: &str,
        wanted: &Session,
        (known, handle): (&Session, &Handle),
        change: &mut Change,
    ) -> Result<(), Status> {
        let policy = wanted.policy.clone().unwrap_or_default();
        let current = || known.policy.clone().unwrap_or_default();
        match path {
            "title" => change.title = Some(wanted.title.clone()),
            "model" => {
                let (own, keys) = (handle.surroundings(), self.sessions.world().models.keys());
                let world = change.world.as_ref().map(|lent| lent.to(&own, &keys));
                let environment = world.unwrap_or(own).environment;
                self.settings
                    .check_model(Path::new(&known.cwd), &environment, &wanted.model)
                    .await?;
                change.model = Some(wanted.model.clone());
            }
            "policy.sandbox" if policy.sandbox() != SandboxMode::Unspecified => {
                change.policy.get_or_insert_with(current).sandbox = policy.sandbox;
            }
            "policy.approve" if policy.approve() != ApprovePolicy::Unspecified => {
                change.policy.get_or_insert_with(current).approve = policy.approve;
            }
            "state" if wanted.state() == SessionState::Running => change.sends_on = true,
            "state" => {
                return Err(invalid(
                    "`state` can only be set to running, which sends a suspended turn on",
                ));
            }
            "policy.sandbox" | "policy.approve" => {
                return Err(invalid(format!("`{path}` is unspecified")));
            }
            other => {
                let fields = "title, model, policy.sandbox, policy.approve and state";
                return Err(invalid(format!(
                    "`{other}` cannot be changed: {fields} can"
                )));
            }
        }
        Ok(())
    }
}

/// Removes the files of a deleted session's jobs. What cannot be removed is told in the log.
fn forget(kept: &Jobs, session: &SessionId, jobs: &[Job]) {
    for job in jobs.iter().filter_map(|job| job.id.parse().ok()) {
        if let Err(error) = kept.forget(&job) {
            tracing::warn!(%job, %error, "the files of a job stay");
        }
    }
    // A detached job still uses them; the next start finds them.
    if !kept.of_session(session).is_empty() {
        return;
    }
    if let Err(error) = kept.forget_scratch(session) {
        tracing::warn!(%session, %error, "the scratch files of a session stay");
    }
}

/// The world that a client describes, as sessions keep it.
pub(super) fn surroundings(world: &ClientWorld) -> Surroundings {
    let environment = world
        .environment
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    Surroundings {
        environment: Arc::new(environment),
        umask: world.umask & 0o777,
        held: Held::Whole,
    }
}

pub(super) fn directory(field: &str, path: &str) -> Result<(), Status> {
    let path = Path::new(path);
    if !path.is_absolute() {
        return Err(invalid(format!(
            "`{field}` must be an absolute path, not `{}`",
            path.display()
        )));
    }
    if !path.is_dir() {
        return Err(invalid(format!("`{}` is not a directory", path.display())));
    }
    Ok(())
}

/// The interval of heartbeats, by what a request says of it.
pub(super) fn heartbeat(wanted_ms: u32) -> Duration {
    let ms = match wanted_ms {
        0 => HEARTBEAT_MS.0,
        wanted => wanted.max(HEARTBEAT_MS.1),
    };
    Duration::from_millis(ms.into())
}

/// Where the next page begins: the last session's time and id.
fn token(session: &Session) -> String {
    format!("{}:{}", session.active_ms, session.id)
}

fn before(token: &str) -> Result<Option<(i64, SessionId)>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let parts = token
        .split_once(':')
        .and_then(|(time, id)| Some((time.parse().ok()?, id.parse().ok()?)));
    parts
        .map(Some)
        .ok_or_else(|| invalid("`page_token` is not one that `List` gave"))
}
