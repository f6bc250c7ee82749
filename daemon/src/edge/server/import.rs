//! `SessionService.Import`: JSON lines become a session that is at rest here.
//!
//! Nothing of the file is believed but the conversation: where the session works, what it may do and
//! what runs is decided here, and nothing in it goes on by itself.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use quire_proto::{
    id::{JobId, RequestId, SessionId},
    v1::{
        ClientRef, ClientWorld, Event, Session, SessionServiceImportRequest,
        SessionServiceImportResponse, event::Body,
    },
};
use tokio::{
    sync::mpsc,
    task::{JoinError, spawn_blocking},
};
use tonic::{Code, Request, Status, Streaming};

use super::{
    Services,
    refusals::{bad_id, invalid},
    session::{directory, surroundings},
};
use crate::{
    adapters::{briefing::date, jobs::Jobs, store::Encoded},
    edge::{settings::Settled, status::refuse},
    ports::tool::{Known, Place},
    pure::{
        archive::{self, Contents, Header, Here, NoArchive, Reader},
        transcript::Transcript,
    },
    session::{Surroundings, now_ms},
};

/// Most bytes of a file. Its events are in memory until they are written, about four times over.
const FILE_MAX: u64 = 1 << 30;

/// Pieces that may wait for the thread that reads them.
const WAITING: usize = 4;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Who imports, into which world.
struct Importer {
    request: RequestId,
    by: Option<ClientRef>,
    world: ClientWorld,
    surroundings: Surroundings,
}

impl Services {
    /// Makes a session of what the caller streams.
    ///
    /// # Errors
    ///
    /// When there is no session in it, the file is too large, or the store refuses. Then there is none.
    pub(super) async fn import_session(
        &self,
        mut request: Request<Streaming<SessionServiceImportRequest>>,
    ) -> Result<SessionServiceImportResponse, Status> {
        let first = request.get_mut().message().await?.unwrap_or_default();
        let caller = self.caller(&request, &first.request_id)?;
        let world = first.world.unwrap_or_default();
        directory("world.cwd", &world.cwd)?;
        let importer = Importer {
            request: caller.request_id.parse().map_err(bad_id)?,
            by: caller.by,
            surroundings: surroundings(&world),
            world,
        };
        let contents = read(first.chunk, request.into_inner()).await?;
        let notices = contents.faults.clone();
        let services = self.clone();
        // To its end, even if the caller leaves.
        let making = tokio::spawn(async move { services.make(importer, contents).await });
        let session = making.await.map_err(|error| panicked(&error))??;
        Ok(SessionServiceImportResponse {
            session: Some(session),
            notices,
        })
    }

    async fn make(&self, importer: Importer, contents: Contents) -> Result<Session, Status> {
        let Contents {
            header,
            mut events,
            outputs,
            faults,
        } = contents;
        // From here on no other import takes the name that this one found free.
        let _one = self.importing.lock().await;
        let id = self.free_name(&header).await?;
        let kept = id.as_str() == header.id;
        let mut jobs = Names::new(&self.jobs, kept);
        archive::moved(&mut events, id.as_str(), |job| jobs.of(job));
        let cwd = Path::new(&importer.world.cwd);
        let environment = &importer.surroundings.environment;
        let model = archive::last_model(&events).to_owned();
        let mut settled = self.settings.settle_found(cwd, environment, &model).await?;
        let lost = outputs.then(|| "What only the files of its jobs held was left out.".to_owned());
        settled.notices.extend(lost);
        settled.notices.extend(faults);
        place(&mut events, &importer.world.cwd, &settled);
        let briefing = self.briefing(&id, &importer, &settled).await;
        let here = here(&header, importer.by, settled, briefing);
        if let Some(created) = events.first_mut() {
            // A store that has to make its row again knows by this which request made the session.
            created.request_id = importer.request.to_string();
        }
        let (events, transcript) = settle(id.as_str(), &events, &here);
        let sessions = &self.sessions;
        let (request, surroundings) = (importer.request, importer.surroundings);
        let imported = sessions.import(&request, events, transcript, surroundings);
        Ok(imported.await?)
    }

    /// The session's own name if none here has or had it, else a new one.
    async fn free_name(&self, header: &Header) -> Result<SessionId, Status> {
        let own = header.id.parse::<SessionId>();
        match own {
            Ok(id) if !self.sessions.store().is_taken(&id).await? => Ok(id),
            _ => Ok(SessionId::random()),
        }
    }

    async fn briefing(&self, id: &SessionId, importer: &Importer, settled: &Settled) -> String {
        let place = Place {
            session: id.clone(),
            workspace: settled.workspace.clone(),
            cwd: PathBuf::from(&importer.world.cwd),
            environment: importer.surroundings.environment.clone(),
            umask: importer.surroundings.umask,
            policy: Arc::new(settled.policy.clone()),
            known: Known::default(),
        };
        (self.sessions.world().briefing)(place).await
    }
}

/// Reads the whole stream, off the async threads. What follows a fault is received and dropped, so that
/// the caller can say all it has to say.
async fn read(
    first: Vec<u8>,
    mut rest: Streaming<SessionServiceImportRequest>,
) -> Result<Contents, Status> {
    let (pieces, mut waiting) = mpsc::channel::<Vec<u8>>(WAITING);
    let reading = spawn_blocking(move || {
        let mut reader = Reader::default();
        while let Some(piece) = waiting.blocking_recv() {
            reader.push(&piece);
        }
        reader.finish()
    });
    let mut bytes = first.len() as u64;
    let mut next = Some(first);
    while let Some(piece) = next {
        // Only a panic of the reader ends it early, and that is told below.
        let _gone = pieces.send(piece).await;
        next = rest.message().await?.map(|message| message.chunk);
        bytes += next.as_ref().map_or(0, |piece| piece.len() as u64);
        if bytes > FILE_MAX {
            let message = format!("the file is larger than {} MiB", FILE_MAX >> 20);
            return Err(invalid(message));
        }
    }
    drop(pieces);
    let contents = reading.await.map_err(|error| panicked(&error))?;
    contents.map_err(|why| match &why {
        NoArchive::SomethingElse => invalid(why.to_string()),
        NoArchive::Newer { .. } => refuse(Code::InvalidArgument, "NEWER_EXPORT", why.to_string()),
        NoArchive::Damaged(_) => refuse(Code::DataLoss, "DAMAGED", why.to_string()),
    })
}

fn panicked(error: &JoinError) -> Status {
    tracing::error!(%error, "an import panicked");
    let message = "quire itself failed; the daemon's log says where";
    refuse(Code::Internal, "INTERNAL", message)
}

/// What jobs of the file are called here: as there, if the session is and no job here has that name.
struct Names<'a> {
    jobs: &'a Jobs,
    kept: bool,
    known: BTreeMap<String, String>,
}

impl<'a> Names<'a> {
    fn new(jobs: &'a Jobs, kept: bool) -> Self {
        Self {
            jobs,
            kept,
            known: BTreeMap::new(),
        }
    }

    fn of(&mut self, job: &str) -> String {
        let (jobs, kept) = (self.jobs, self.kept);
        let free = |job: &JobId| kept && !jobs.directory(job).exists();
        let name = self.known.entry(job.to_owned()).or_insert_with(|| {
            let own = job.parse::<JobId>().ok().filter(free);
            own.unwrap_or_else(JobId::random).to_string()
        });
        name.clone()
    }
}

/// The session lives here, whatever it says of where it was made.
fn place(events: &mut [Event], cwd: &str, settled: &Settled) {
    let first = events.first_mut().and_then(|event| event.body.as_mut());
    if let Some(Body::SessionCreated(created)) = first {
        created.workspace = settled.workspace.display().to_string();
        cwd.clone_into(&mut created.cwd);
        created.policy = Some(settled.policy.clone());
    }
}

fn here(header: &Header, by: Option<ClientRef>, settled: Settled, briefing: String) -> Here {
    let day = date(header.exported_ms.div_euclid(DAY_MS));
    let origin = format!(
        "Imported: session `{}` of `{}`, exported on {day}. It goes on in `{}`.",
        header.id,
        header.workspace,
        settled.workspace.display()
    );
    Here {
        model: settled.model,
        policy: settled.policy,
        by,
        now_ms: now_ms(),
        origin,
        warnings: settled.notices,
        briefing: Some(briefing),
        ..Here::default()
    }
}

/// All events of the session, those that put it to rest included, and what they add up to.
fn settle(id: &str, events: &[Event], here: &Here) -> (Encoded, Transcript) {
    let mut transcript = Transcript::of(id);
    events.iter().for_each(|event| transcript.apply(event));
    let rest = archive::settle(&mut transcript, here);
    let mut encoded = Encoded::default();
    events
        .iter()
        .chain(&rest)
        .for_each(|event| encoded.push(event));
    (encoded, transcript)
}
