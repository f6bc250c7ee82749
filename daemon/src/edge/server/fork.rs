//! `SessionService.Fork`: a session's history up to some event, as another session's own.
//!
//! The old session is only read, from the store: it is not brought to life, and what it does meanwhile is
//! neither held up nor seen.

use std::{path::Path, path::PathBuf, sync::Arc};

use quire_proto::{
    id::{JobId, RequestId, SessionId},
    v1::{ClientRef, ClientWorld, Policy, Session, SessionServiceForkRequest},
};
use tonic::{Code, Request, Status};

use super::{
    Services,
    refusals::{bad_id, invalid},
    session::{directory, surroundings},
    turn::carried_out,
};
use crate::{
    adapters::store::{Encoded, StoreError},
    edge::{
        settings::{Settled, Wish},
        status::refuse,
    },
    ports::tool::{Known, Place},
    pure::{
        archive::Here,
        fork::{self, Begun, Fork},
        transcript::Transcript,
    },
    session::{Surroundings, now_ms},
};

/// Events read at a time; fewer when they are large.
const PAGE: u32 = 500;

/// What is to be made of which session.
struct Forking {
    request: RequestId,
    by: Option<ClientRef>,
    from: Session,
    at: u64,
    title: String,
    /// Given by the one who asks.
    world: Option<ClientWorld>,
}

impl Services {
    /// Makes a session of the history of another, once for each request id.
    ///
    /// # Errors
    ///
    /// When there is no such session or event, its log is damaged before, or the given world can't be
    /// worked in. Then there is no new session.
    pub(super) async fn fork_session(
        &self,
        request: Request<SessionServiceForkRequest>,
    ) -> Result<Session, Status> {
        let caller = self.caller(&request, &request.get_ref().request_id)?;
        let request_id = caller.request_id.parse().map_err(bad_id)?;
        if let Some(made) = self.sessions.made_by(&request_id).await? {
            return Ok(made);
        }
        let request = request.into_inner();
        if request.session.is_empty() {
            return Err(invalid("`session` is missing: name the one to fork"));
        }
        if let Some(world) = &request.world {
            directory("world.cwd", &world.cwd)?;
        }
        let id = self.sessions.name(&request.session).await?;
        let from = self.sessions.store().session(&id).await?;
        let from = from.ok_or(StoreError::Missing(id))?;
        let forking = Forking {
            request: request_id,
            by: caller.by,
            at: last_event(&from, request.at_seq)?,
            from,
            title: request.title,
            world: request.world,
        };
        let services = self.clone();
        carried_out(async move { Ok(services.make_fork(forking).await) }).await?
    }

    async fn make_fork(&self, forking: Forking) -> Result<Session, Status> {
        let from: SessionId = forking.from.id.parse().map_err(bad_id)?;
        let world = match &forking.world {
            Some(world) => surroundings(world),
            None => self.sessions.surroundings(&from).await,
        };
        let settled = self.settled_elsewhere(&forking, &world).await?;
        let id = SessionId::random();
        let begun = Begun {
            id: id.to_string(),
            from: from.to_string(),
            at: forking.at,
            request: forking.request.to_string(),
            place: settled.as_ref().map(|(settled, cwd)| {
                let workspace = settled.workspace.display().to_string();
                (workspace, cwd.clone())
            }),
        };
        let mut fork = Fork::new(begun, || JobId::random().to_string());
        let mut events = self.copied(&from, forking.at, &mut fork).await?;
        let mut here = here(&forking, fork.transcript());
        if let Some((settled, cwd)) = settled {
            here.briefing = Some(self.briefing_at(&id, &cwd, &world, &settled).await);
            here.model = settled.model;
            here.policy = settled.policy;
            here.warnings = settled.notices;
        }
        let (rest, transcript) = fork.finish(here);
        rest.iter().for_each(|event| events.push(event));
        let made = self
            .sessions
            .import(&forking.request, events, transcript, world);
        Ok(made.await?)
    }

    /// What holds in the directory that was asked for and its path, if it is another than that of the
    /// old session. Rights are those the old session has now: a fork never has more by moving.
    async fn settled_elsewhere(
        &self,
        forking: &Forking,
        world: &Surroundings,
    ) -> Result<Option<(Settled, String)>, Status> {
        let elsewhere = forking.world.as_ref().map(|world| &world.cwd);
        let Some(cwd) = elsewhere.filter(|cwd| **cwd != forking.from.cwd) else {
            return Ok(None);
        };
        let policy = forking.from.policy.clone().unwrap_or_default();
        let wish = Wish {
            model: forking.from.model.clone(),
            policy: Some(Policy {
                sandbox: policy.sandbox,
                approve: policy.approve,
                ..Policy::default()
            }),
            add_dirs: Vec::new(),
        };
        let settling = self
            .settings
            .settle(Path::new(cwd), &world.environment, wish);
        Ok(Some((settling.await?, cwd.clone())))
    }

    /// The events up to `at`, page by page, as the fork has them.
    async fn copied(
        &self,
        from: &SessionId,
        at: u64,
        fork: &mut Fork<impl FnMut() -> String>,
    ) -> Result<Encoded, Status> {
        let store = self.sessions.store();
        let mut events = Encoded::default();
        let mut after = 0;
        while after < at {
            let limit = PAGE.min(u32::try_from(at - after).unwrap_or(PAGE));
            let page = store.events(from, after, limit).await?;
            let Some(last) = page.last().map(|event| event.seq) else {
                let seq = after + 1;
                let session = from.clone();
                return Err(StoreError::Damaged { session, seq }.into());
            };
            for event in page {
                events.push(&fork.take(event));
            }
            after = last;
        }
        Ok(events)
    }

    async fn briefing_at(
        &self,
        id: &SessionId,
        cwd: &str,
        world: &Surroundings,
        settled: &Settled,
    ) -> String {
        let place = Place {
            session: id.clone(),
            workspace: settled.workspace.clone(),
            cwd: PathBuf::from(cwd),
            environment: world.environment.clone(),
            umask: world.umask,
            policy: Arc::new(settled.policy.clone()),
            known: Known::default(),
        };
        (self.sessions.world().briefing)(place).await
    }
}

/// The event up to which the history is taken; 0 asks for all of it.
fn last_event(from: &Session, wanted: u64) -> Result<u64, Status> {
    let (id, head, damaged) = (&from.id, from.head_seq, from.damaged_seq);
    let at = if wanted == 0 { head } else { wanted };
    if damaged != 0 && at >= damaged {
        let advice = match damaged {
            1 => "nothing of it is whole".to_owned(),
            seq => format!("fork it at event {} at most", seq - 1),
        };
        let message = format!("the log of session `{id}` is damaged at event {damaged}: {advice}");
        return Err(refuse(Code::DataLoss, "DAMAGED", message));
    }
    if at > head {
        let message = format!("session `{id}` has no event {at}: its newest is {head}");
        return Err(invalid(message));
    }
    Ok(at)
}

/// What holds for a fork that works where the old session does, at the event it was taken.
fn here(forking: &Forking, transcript: &Transcript) -> Here {
    let title = match forking.title.trim() {
        "" => fork::title(&transcript.summary().title),
        title => title.to_owned(),
    };
    let (id, at) = (&forking.from.id, forking.at);
    Here {
        title: Some(title),
        model: transcript.model().to_owned(),
        policy: transcript.policy(),
        by: forking.by.clone(),
        now_ms: now_ms(),
        origin: format!("Forked from session `{id}` at event {at}."),
        ..Here::default()
    }
}
