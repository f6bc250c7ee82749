//! `SessionService.Export`: a session's log as JSON lines, page by page.
//!
//! What there is at the moment of the call is written, while the session goes on. Nothing is held but
//! a page of events. A damaged log is written up to its damage, and its last line says so.

use std::collections::{BTreeSet, VecDeque};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures_util::{Stream, stream};
use quire_proto::{
    id::{JobId, SessionId},
    v1::{Event, SessionServiceExportRequest, SessionServiceExportResponse, event::Body},
};
use quire_sandbox::job::{Chunk, Stream as From};
use tokio::task::spawn_blocking;
use tonic::{Code, Status};

use super::Services;
use crate::{
    adapters::{
        jobs::{Follow, Jobs, snapshot},
        store::{Store, StoreError},
    },
    edge::status::refuse,
    pure::archive::{Header, Output, Writer},
    session::now_ms,
};

/// Events fetched from the store at a time; fewer when they are large.
const PAGE: u32 = 500;

/// Bytes in one message: what clients of any language take without being told to.
const PIECE: usize = 1 << 20;

impl Services {
    /// The bytes of the file, in order.
    ///
    /// # Errors
    ///
    /// When there is no such session, or not even its first event can be read.
    pub(super) async fn export_session(
        &self,
        request: SessionServiceExportRequest,
    ) -> Result<impl Stream<Item = Result<SessionServiceExportResponse, Status>> + use<>, Status>
    {
        let id = self.sessions.name(&request.session).await?;
        let store = self.sessions.store().clone();
        let known = store.session(&id).await?;
        let known = known.ok_or_else(|| StoreError::Missing(id.clone()))?;
        let damaged_at = Some(known.damaged_seq).filter(|seq| *seq != 0);
        let until = damaged_at.map_or(known.head_seq, |seq| seq - 1);
        let mut header = Header::new(id.to_string());
        header.title = known.title;
        header.workspace = known.workspace;
        header.exported_ms = now_ms();
        header.daemon = env!("CARGO_PKG_VERSION").to_owned();
        let mut text = Vec::new();
        let writer = Writer::begin(&header, &mut text);
        let mut export = Export {
            stage: Stage::Events,
            writer: Some(writer),
            text,
            pieces: VecDeque::new(),
            after: 0,
            until,
            damaged_at,
            outputs: (!request.without_output).then(Outputs::default),
            jobs: self.jobs.clone(),
            session: id,
            store,
        };
        export.refill().await?;
        Ok(stream::try_unfold(export, |mut export| async {
            Ok(export.next().await?.map(|piece| (piece, export)))
        }))
    }
}

/// One file on its way.
struct Export {
    stage: Stage,
    /// Gone when the last line is written.
    writer: Option<Writer>,
    /// Written, and not yet a piece.
    text: Vec<u8>,
    pieces: VecDeque<Vec<u8>>,
    /// Seq of the newest event written.
    after: u64,
    /// Seq of the last event to be written.
    until: u64,
    damaged_at: Option<u64>,
    /// Absent when nobody wants them.
    outputs: Option<Outputs>,
    jobs: Jobs,
    session: SessionId,
    store: Store,
}

/// What is written next.
enum Stage {
    Events,
    Outputs,
    Done,
}

/// The jobs whose files are still to be read.
#[derive(Default)]
struct Outputs {
    left: BTreeSet<JobId>,
    /// The one being read.
    open: Option<(JobId, Follow)>,
}

impl Export {
    async fn next(&mut self) -> Result<Option<SessionServiceExportResponse>, Status> {
        while self.pieces.is_empty() && !matches!(self.stage, Stage::Done) {
            self.refill().await?;
        }
        let piece = self.pieces.pop_front();
        Ok(piece.map(|chunk| SessionServiceExportResponse { chunk }))
    }

    /// Writes some more.
    async fn refill(&mut self) -> Result<(), Status> {
        match self.stage {
            Stage::Events => self.write_events().await?,
            Stage::Outputs => self.write_output()?,
            Stage::Done => {}
        }
        let text = std::mem::take(&mut self.text);
        self.pieces.extend(text.chunks(PIECE).map(<[u8]>::to_vec));
        Ok(())
    }

    async fn write_events(&mut self) -> Result<(), Status> {
        let events = self.page().await?;
        if events.is_empty() {
            self.stage = Stage::Outputs;
            return Ok(());
        }
        if let Some(outputs) = &mut self.outputs {
            outputs.left.extend(events.iter().filter_map(started_job));
        }
        self.after = events.last().map_or(self.after, |event| event.seq);
        self.encode(events).await
    }

    /// The next events; none when all were written, or what follows is damaged.
    async fn page(&mut self) -> Result<Vec<Event>, Status> {
        while self.after < self.until {
            let left = self.until - self.after;
            let limit = PAGE.min(u32::try_from(left).unwrap_or(PAGE));
            match self.store.events(&self.session, self.after, limit).await {
                Ok(events) if events.is_empty() => self.damaged(self.after + 1),
                Ok(events) => return Ok(events),
                Err(StoreError::Damaged { seq, .. }) => self.damaged(seq),
                Err(error) => return Err(error.into()),
            }
        }
        if self.after == 0 {
            let seq = self.damaged_at.unwrap_or(1);
            let session = self.session.clone();
            return Err(StoreError::Damaged { session, seq }.into());
        }
        Ok(Vec::new())
    }

    /// What stands before `seq` can still be read, unless that was just refused.
    fn damaged(&mut self, seq: u64) {
        let until = match seq {
            seq if seq > self.until => self.after,
            seq => seq.max(self.after + 1) - 1,
        };
        self.damaged_at = Some(until + 1);
        self.until = until;
    }

    /// Encodes off the async threads: a page may hold megabytes.
    async fn encode(&mut self, events: Vec<Event>) -> Result<(), Status> {
        let Some(mut writer) = self.writer.take() else {
            return Ok(());
        };
        let mut text = std::mem::take(&mut self.text);
        let encoded = spawn_blocking(move || {
            for event in &events {
                writer.event(event, &mut text)?;
            }
            Ok::<_, String>((writer, text))
        });
        let encoded = encoded.await.map_err(|error| broken(&error.to_string()))?;
        let (writer, text) = encoded.map_err(|error| broken(&error))?;
        self.writer = Some(writer);
        self.text = text;
        Ok(())
    }

    fn write_output(&mut self) -> Result<(), Status> {
        let chunk = match &mut self.outputs {
            Some(outputs) => outputs.next(&self.jobs),
            None => None,
        };
        match (chunk, &mut self.writer) {
            (Some((job, chunk)), Some(writer)) => {
                writer.output(&as_output(&job, &chunk), &mut self.text);
            }
            _ => self.write_end(),
        }
        Ok(())
    }

    fn write_end(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.end(self.after, self.damaged_at, &mut self.text);
        }
        self.stage = Stage::Done;
    }
}

impl Outputs {
    /// The next piece that any job's files hold. Files that can't be read are left out, as those that
    /// are gone because the log tells all of them.
    fn next(&mut self, jobs: &Jobs) -> Option<(JobId, Chunk)> {
        loop {
            let (job, mut output) = match self.open.take() {
                Some(open) => open,
                None => {
                    let job = self.left.pop_first()?;
                    let output = snapshot(jobs.directory(&job), 0);
                    (job, output)
                }
            };
            match output.now() {
                Ok(Some(chunk)) => {
                    self.open = Some((job.clone(), output));
                    return Some((job, chunk));
                }
                Ok(None) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => tracing::warn!(%job, %error, "output of a job is not exported"),
            }
        }
    }
}

fn started_job(event: &Event) -> Option<JobId> {
    match &event.body {
        Some(Body::JobStarted(started)) => started.job_id.parse().ok(),
        _ => None,
    }
}

fn as_output<'a>(job: &'a JobId, chunk: &Chunk) -> Output<'a> {
    Output {
        job: job.as_str(),
        offset: chunk.offset,
        stream: match chunk.stream {
            From::Stdout => "stdout",
            From::Stderr => "stderr",
        },
        data: BASE64_STANDARD.encode(&chunk.bytes),
    }
}

fn broken(why: &str) -> Status {
    let message = format!("an event cannot be told as JSON: {why}");
    refuse(Code::Internal, "INTERNAL", message)
}
