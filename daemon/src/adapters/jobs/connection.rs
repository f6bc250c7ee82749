//! The daemon's end of a connection to a keeper: one task reads what the keeper tells, one writes
//! what is asked of it.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use quire_sandbox::{
    job::{self, JobState},
    wire::{Decoder, Event, Request, Started},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot, watch},
};

use super::{Ended, JobError, lock};

/// Requests that wait to be written; whoever asks one more waits.
const REQUESTS: usize = 16;

/// How far a job is, as told by its keeper.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// What confines it, and what its keeper understands.
    pub(super) started: Option<Started>,
    /// Bytes of output written.
    pub(super) bytes: u64,
    /// Its end. Nothing changes after it.
    pub(super) ended: Option<Ended>,
}

type Answer = oneshot::Sender<Result<(), JobError>>;
/// Those who wait for an answer, in the order they asked; `None` when none will come any more.
type Waiting = Arc<Mutex<Option<VecDeque<Answer>>>>;

/// A connection. Cheap to clone; closed when the last one is dropped.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    progress: watch::Receiver<Progress>,
    requests: mpsc::Sender<(Vec<u8>, Answer)>,
}

impl Connection {
    /// Waits for the keeper's first word.
    pub(super) async fn open(stream: UnixStream, directory: PathBuf) -> Result<Self, JobError> {
        let (incoming, outgoing) = stream.into_split();
        let (progress, receiver) = watch::channel(Progress::default());
        let mut reader = Reader {
            incoming,
            decoder: Decoder::default(),
            progress,
            waiting: Arc::new(Mutex::new(Some(VecDeque::new()))),
        };
        match reader.event().await {
            Ok(Some(Event::AlreadyStarted)) => return Err(JobError::AlreadyStarted),
            Ok(Some(Event::Refused(why))) => return Err(JobError::Refused(why)),
            Ok(Some(event)) => reader.take(event),
            Ok(None) | Err(_) => match ended(&directory) {
                Some(end) => reader.end(end),
                None => {
                    return Err(JobError::Refused(
                        "its keeper ended before it began".to_owned(),
                    ));
                }
            },
        }
        let (requests, inbox) = mpsc::channel(REQUESTS);
        tokio::spawn(write(outgoing, inbox, Arc::clone(&reader.waiting)));
        tokio::spawn(reader.run(directory));
        Ok(Self {
            progress: receiver,
            requests,
        })
    }

    pub(super) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Waits for the job's end.
    pub(super) async fn ended(&self) -> Ended {
        let mut progress = self.progress();
        let ended = progress.wait_for(|progress| progress.ended.is_some()).await;
        ended
            .ok()
            .and_then(|progress| progress.ended.clone())
            .unwrap_or(Ended::Unknown)
    }

    /// Whether the keeper carries out a request with an id once, and knows how to detach. One of the
    /// first version does not.
    pub(super) fn knows_ids(&self) -> bool {
        let progress = self.progress.borrow();
        progress
            .started
            .as_ref()
            .is_some_and(|started| started.wire >= 1)
    }

    /// Asks, and waits for the answer. The same `id` again is answered and not carried out again, if
    /// the keeper [knows ids](Self::knows_ids).
    pub(super) async fn ask(&self, request: &Request, id: Option<&str>) -> Result<(), JobError> {
        let frame = match id.filter(|_| self.knows_ids()) {
            Some(id) => request.encode_once(id),
            None => request.encode(),
        };
        let (answer, answered) = oneshot::channel();
        self.requests
            .send((frame, answer))
            .await
            .map_err(|_| JobError::Gone)?;
        answered.await.unwrap_or(Err(JobError::Gone))
    }
}

/// Writes requests until nobody can ask any more.
async fn write(
    mut outgoing: OwnedWriteHalf,
    mut inbox: mpsc::Receiver<(Vec<u8>, Answer)>,
    waiting: Waiting,
) {
    while let Some((frame, answer)) = inbox.recv().await {
        // Before the request is out: the answer may be read at once.
        match &mut *lock(&waiting) {
            Some(waiting) => waiting.push_back(answer),
            None => return,
        }
        if outgoing.write_all(&frame).await.is_err() {
            // The reader sees the same end, and tells everybody.
            return;
        }
    }
}

struct Reader {
    incoming: OwnedReadHalf,
    decoder: Decoder,
    progress: watch::Sender<Progress>,
    waiting: Waiting,
}

impl Reader {
    async fn run(mut self, directory: PathBuf) {
        while self.progress.borrow().ended.is_none() {
            match self.event().await {
                Ok(Some(event)) => self.take(event),
                Ok(None) | Err(_) => {
                    let end = ended(&directory).unwrap_or(Ended::Unknown);
                    self.end(end);
                }
            }
        }
        // Whoever waits is told by its channel that the job is gone.
        lock(&self.waiting).take();
    }

    /// The next word; `None` at the end of the connection.
    async fn event(&mut self) -> io::Result<Option<Event>> {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        let mut bytes = [0; 4096];
        loop {
            if let Some(frame) = self.decoder.next_frame().map_err(invalid)? {
                return Event::decode(&frame).map(Some).map_err(invalid);
            }
            match self.incoming.read(&mut bytes).await? {
                0 => return Ok(None),
                count => self.decoder.feed(&bytes[..count]),
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Started(started) => self
                .progress
                .send_modify(|progress| progress.started = Some(started)),
            Event::Grew(bytes) => self.progress.send_modify(|progress| progress.bytes = bytes),
            Event::Done => self.answer(Ok(())),
            Event::Denied(why) => self.answer(Err(JobError::Denied(why))),
            Event::Ended(record) => {
                self.progress
                    .send_modify(|progress| progress.bytes = record.output_bytes);
                self.end(Ended::Exit(record));
            }
            // Only ever the first word.
            Event::AlreadyStarted | Event::Refused(_) => self.end(Ended::Unknown),
        }
    }

    fn answer(&self, answer: Result<(), JobError>) {
        let first = lock(&self.waiting).as_mut().and_then(VecDeque::pop_front);
        if let Some(waiting) = first {
            // Whoever asked may have left.
            let _ = waiting.send(answer);
        }
    }

    fn end(&self, end: Ended) {
        self.progress
            .send_modify(|progress| progress.ended = Some(end));
    }
}

/// How the job ended, when its keeper is no longer there.
fn ended(directory: &Path) -> Option<Ended> {
    match job::state(directory) {
        Ok(JobState::Ended(record)) => Some(Ended::Exit(record)),
        Ok(JobState::Lost) => Some(Ended::Unknown),
        Ok(JobState::NeverStarted | JobState::Running(_)) | Err(_) => None,
    }
}
