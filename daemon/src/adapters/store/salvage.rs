//! What can be read of a database that was moved aside comes back into the new one.
//!
//! Row by row, off the [pages](super::pages), as SQLite refuses such a file or loses what a broken tree no
//! longer leads to. Of each session the longest prefix comes back that its chain proves to be what was written,
//! under its own id, newest session first. Nothing unproven does. The rest is counted and told. A session is put
//! in one commit, so a kill in between costs nothing: the next start finds it there and goes on with the others.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
};

use prost::Message as _;
use quire_proto::{
    id::SessionId,
    v1::{self, event::Body},
};
use tokio::sync::{Semaphore, oneshot};

use super::{
    Durability, StoreError, aside,
    chain::Chain,
    heads::{Contents, Known},
    health::{Teller, Trouble},
    pages::{Pages, Place, Record},
    refound::beside,
    row::Row,
    writer::{Bodies, Message, Pending, Write},
};
use crate::pure::transcript::Transcript;

/// Most events that are told to be lost at the end of a log; a greater number is rot itself.
const LOST_MOST: u64 = 100_000;

/// Most cut sessions that are told by name.
const NAMED: usize = 5;

/// Begins to salvage the databases in `damaged` into the one that `writer` writes. The receiver is told when
/// that is done.
///
/// # Errors
///
/// When there can be no thread for it.
pub(super) fn begin(
    damaged: Vec<PathBuf>,
    writer: mpsc::Sender<Message>,
    teller: Teller,
) -> io::Result<mpsc::Receiver<()>> {
    let (done, wait) = mpsc::channel();
    thread::Builder::new()
        .name("salvage".into())
        .spawn(move || {
            for damaged in damaged {
                let report = salvage(&damaged, &writer);
                teller.tell(Trouble::Salvage, sentence(&damaged, &report));
            }
            // Nobody waits any more when it took long.
            let _ = done.send(());
        })?;
    Ok(wait)
}

/// What became of the sessions of one database.
#[derive(Debug, Default)]
struct Report {
    whole: usize,
    /// Those that lack their end, and the last event that they have.
    cut: Vec<(SessionId, u64)>,
    lost: usize,
    /// Why it is not over.
    stopped: Option<String>,
}

fn salvage(damaged: &Path, writer: &mpsc::Sender<Message>) -> Report {
    let mut report = Report::default();
    let pages = match Pages::open(damaged) {
        Ok(pages) => pages,
        Err(error) => {
            report.stopped = Some(error.to_string());
            return report;
        }
    };
    let finds = Finds::survey(pages, &heads(damaged));
    report.lost = finds.nameless;
    for found in &finds.sessions {
        let Some(session) = finds.rebuild(found) else {
            report.lost += 1;
            continue;
        };
        match put(session.write, writer) {
            Ok(_) | Err(StoreError::OutOfOrder { .. }) => match session.cut_after {
                Some(seq) => report.cut.push((found.id.clone(), seq)),
                None => report.whole += 1,
            },
            // Deleted since an earlier start brought it back.
            Err(StoreError::Missing(_)) => {}
            Err(error) => {
                report.stopped = Some(error.to_string());
                return report;
            }
        }
    }
    if let Err(error) = aside::settle(damaged) {
        tracing::warn!(%error, "what was salvaged will be looked through again");
    }
    report
}

fn sentence(damaged: &Path, report: &Report) -> String {
    let all = report.whole + report.cut.len();
    let sessions = |count| format!("{count} session{}", if count == 1 { "" } else { "s" });
    let mut text = format!(
        "the event store was damaged and moved to `{}`: {} salvaged",
        damaged.display(),
        sessions(all)
    );
    if !report.cut.is_empty() {
        let named = report.cut.iter().take(NAMED);
        let named: Vec<_> = named
            .map(|(id, seq)| format!("`{id}` after event {seq}"))
            .collect();
        let more = if report.cut.len() > NAMED {
            ", ..."
        } else {
            ""
        };
        let count = report.cut.len();
        text += &format!(", {count} of them cut ({}{more})", named.join(", "));
    }
    if report.lost > 0 {
        text += &format!(", {} lost", sessions(report.lost));
    }
    if let Some(why) = &report.stopped {
        text += &format!("; then it stopped ({why}), and the next start goes on");
    }
    text
}

/// What stood outside the database.
fn heads(damaged: &Path) -> BTreeMap<SessionId, Known> {
    let bytes = fs::read(beside(damaged, "-heads")).unwrap_or_default();
    Contents::of(&bytes).known
}

/// What the pages seem to hold.
struct Finds {
    pages: Pages,
    /// Newest activity first.
    sessions: Vec<Found>,
    /// Sorted; of one event the newest version last.
    events: Vec<Spot>,
    /// Logs of which nothing tells whose they are.
    nameless: usize,
}

/// A session's row, as it reads.
struct Found {
    id: SessionId,
    number: i64,
    request: Option<String>,
    active_ms: i64,
    summary: Option<v1::Session>,
    seq: u64,
    chain: Option<Chain>,
    /// The newest event that anything tells of.
    last: u64,
}

/// Where an event seems to stand.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Spot {
    number: i64,
    seq: u64,
    place: Place,
    at: u16,
}

/// A session as it comes back.
struct Rebuilt {
    write: Write,
    /// The last event it has, when it had more.
    cut_after: Option<u64>,
}

impl Finds {
    fn survey(pages: Pages, heads: &BTreeMap<SessionId, Known>) -> Self {
        let mut events = Vec::new();
        let mut rows: HashMap<SessionId, Found> = HashMap::new();
        for place in pages.places() {
            let Some(page) = pages.read(place) else {
                continue;
            };
            for cell in pages.cells(place, &page) {
                let record = Record::parse(cell.local);
                if let Some((number, seq)) = record.as_ref().and_then(event_key) {
                    let at = cell.at;
                    events.push(Spot {
                        number,
                        seq,
                        place,
                        at,
                    });
                } else if let Some(payload) = pages.payload(&cell)
                    && let Some(found) = Found::parse(cell.rowid, &payload)
                    // Versions come oldest first, and a log only grows.
                    && rows.get(&found.id).is_none_or(|other| other.seq <= found.seq)
                {
                    rows.insert(found.id.clone(), found);
                }
            }
        }
        events.sort_unstable();
        let sessions = rows.into_values().collect();
        let mut finds = Self {
            pages,
            sessions,
            events,
            nameless: 0,
        };
        finds.compare(heads);
        finds.sessions.sort_by_key(|found| Reverse(found.active_ms));
        finds
    }

    /// Learns what the database itself does not tell any more: which sessions were deleted, where logs
    /// ended, and whose they are.
    fn compare(&mut self, heads: &BTreeMap<SessionId, Known>) {
        let known: BTreeSet<i64> = self.sessions.iter().map(|found| found.number).collect();
        self.sessions
            .retain_mut(|found| match heads.get(&found.id) {
                Some(Known::Deleted) => false,
                Some(Known::Head { seq, .. }) => {
                    found.last = found.last.max(*seq);
                    true
                }
                None => true,
            });
        let mut numbers: Vec<i64> = self.events.iter().map(|spot| spot.number).collect();
        numbers.dedup();
        for number in numbers.into_iter().filter(|number| !known.contains(number)) {
            let first = |id| self.event(number, 1, id, Chain::START);
            match heads.iter().find(|(id, _)| first(id).is_some()) {
                Some((id, Known::Head { seq, .. })) => {
                    self.sessions.push(Found::without_row(id, number, *seq));
                }
                Some((_, Known::Deleted)) => {}
                None => self.nameless += 1,
            }
        }
        let found: BTreeSet<&SessionId> = self.sessions.iter().map(|found| &found.id).collect();
        let gone = heads
            .iter()
            .filter(|(id, known)| matches!(known, Known::Head { .. }) && !found.contains(id));
        // A log without a name may be that of one of them.
        self.nameless = self.nameless.max(gone.count());
    }

    /// The body of the event with this number and seq that follows `before`, and its link.
    fn event(
        &self,
        number: i64,
        seq: u64,
        id: &SessionId,
        before: Chain,
    ) -> Option<(Vec<u8>, Chain)> {
        let from = self
            .events
            .partition_point(|spot| (spot.number, spot.seq) < (number, seq));
        let versions = self.events[from..]
            .iter()
            .take_while(|spot| (spot.number, spot.seq) == (number, seq));
        let proven = |spot: &Spot| {
            let payload = self.pages.payload_at(spot.place, spot.at)?;
            let record = Record::parse(&payload)?;
            let body = record.blob(2)?;
            let link = before.next(id, seq, body);
            let whole = record.blob(3) == Some(link.as_bytes());
            whole.then(|| (body.to_vec(), link))
        };
        versions.filter_map(proven).next()
    }

    /// The longest proven prefix; `None` when not even the first event is.
    fn rebuild(&self, found: &Found) -> Option<Rebuilt> {
        let mut link = Chain::START;
        let mut bodies = Bodies::new();
        let mut transcript = Transcript::of(found.id.as_str());
        let mut time_ms = 0;
        while let next = bodies.len() as u64 + 1
            && let Some((body, after)) = self.event(found.number, next, &found.id, link)
            && let Ok(event) = v1::Event::decode(&*body)
        {
            transcript.apply(&event);
            time_ms = event.time_ms;
            bodies.push((next, body));
            link = after;
        }
        let last = bodies.last()?.0;
        let whole = last >= found.last;
        let exact = whole && last == found.seq && Some(link) == found.chain;
        if !whole {
            let end = Ending {
                from: last,
                through: found.last,
                time_ms,
            };
            end.write(&mut transcript, &mut bodies);
        }
        let summary = found
            .summary
            .clone()
            .filter(|summary| exact && summary.id == found.id.as_str())
            .unwrap_or_else(|| transcript.summary());
        let write = Write::Create {
            session: found.id.clone(),
            request: found.request.clone(),
            bodies,
            row: Row::of(&summary),
        };
        let cut_after = (!whole).then_some(last);
        Some(Rebuilt { write, cut_after })
    }
}

/// The end of a log that lost its own.
struct Ending {
    from: u64,
    through: u64,
    time_ms: i64,
}

impl Ending {
    /// No seq is given twice, and a turn that was under way is not gone on with by itself: what it did
    /// after the last event that is left, nobody knows.
    fn write(&self, transcript: &mut Transcript, bodies: &mut Bodies) {
        let lost = self.through.saturating_sub(self.from);
        let lost = if lost <= LOST_MOST { lost } else { 0 };
        for _ in 0..lost {
            self.push(Body::EventLost(v1::EventLost {}), transcript, bodies);
        }
        if let Some(turn) = transcript
            .running_turn()
            .filter(|_| !transcript.is_suspended())
        {
            let suspended = v1::TurnSuspended {
                turn: turn.get(),
                reason: "the event store was damaged and the end of this session is lost".into(),
                wants_world: false,
            };
            self.push(Body::TurnSuspended(suspended), transcript, bodies);
        }
    }

    fn push(&self, body: Body, transcript: &mut Transcript, bodies: &mut Bodies) {
        let event = v1::Event {
            seq: transcript.head() + 1,
            time_ms: self.time_ms,
            body: Some(body),
            ..v1::Event::default()
        };
        transcript.apply(&event);
        bodies.push((event.seq, event.encode_to_vec()));
    }
}

/// The session's number and the seq, if this is the row of an event.
fn event_key(record: &Record<'_>) -> Option<(i64, u64)> {
    let shaped = record.blob_length(2).is_some() && record.blob_length(3) == Some(16);
    let seq = u64::try_from(record.integer(1)?).ok()?;
    shaped.then_some((record.integer(0)?, seq))
}

impl Found {
    /// A row of the table of sessions; `None` for any other.
    fn parse(number: i64, payload: &[u8]) -> Option<Self> {
        let record = Record::parse(payload).filter(|record| record.width() >= 11)?;
        let chain = record.blob(10).and_then(|link| link.try_into().ok());
        let seq = u64::try_from(record.integer(9)?).ok()?;
        Some(Self {
            id: record.text(1)?.parse().ok()?,
            number,
            request: record.text(2).map(String::from),
            active_ms: record.integer(5)?,
            summary: record
                .blob(8)
                .and_then(|summary| v1::Session::decode(summary).ok()),
            seq,
            chain: chain.map(Chain::from_bytes),
            last: seq,
        })
    }

    /// A session whose row is gone.
    fn without_row(id: &SessionId, number: i64, last: u64) -> Self {
        Self {
            id: id.clone(),
            number,
            request: None,
            active_ms: 0,
            summary: None,
            seq: 0,
            chain: None,
            last,
        }
    }
}

/// Writes one session and waits for the answer.
fn put(write: Write, writer: &mpsc::Sender<Message>) -> Result<SessionId, StoreError> {
    let (reply, answer) = oneshot::channel();
    // One at a time, so these need not wait among the others to be let in.
    let permit = Arc::new(Semaphore::new(1)).try_acquire_owned();
    let pending = Pending {
        write,
        durability: Durability::Barrier,
        // Refused while the disk is nearly full: nothing is lost by that.
        begins: true,
        reply,
        permit: permit.map_err(|_| StoreError::Closed)?,
    };
    let sent = writer.send(Message::Write(Box::new(pending)));
    sent.map_err(|_| StoreError::Closed)?;
    answer.blocking_recv().unwrap_or(Err(StoreError::Closed))
}

#[cfg(test)]
mod tests;
