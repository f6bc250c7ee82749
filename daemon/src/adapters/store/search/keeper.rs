//! The thread that keeps the index: follows the store, answers searches, forgets and scrubs.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use quire_proto::{id::SessionId, v1::Event};
use rusqlite::ErrorCode;
use tokio::sync::watch;

use super::{
    Hits, Search,
    desk::{Ask, Desk, Next},
    find::find,
    tables::{self, Mark, Spot, Tables},
};
use crate::{
    adapters::store::{
        Health, Room, StoreError,
        chain::Chain,
        reader::{self, Readers},
    },
    pure::search::{Change, change, indexed},
};

/// How long after its start the thread looks for what it missed: the first client comes first.
const START: Duration = Duration::from_secs(1);

/// Events read at once.
const PAGE: u32 = 100;

/// How long one commit may take to fill, so that nobody waits long for an answer.
const STEP: Duration = Duration::from_millis(25);

/// How long a search waits for what is not read yet.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long nothing must happen before what was deleted is scrubbed.
const CALM: Duration = Duration::from_millis(250);

/// How long nothing must happen before the file is closed.
const QUIET: Duration = Duration::from_secs(5);

/// How long nothing is tried after a failure, or while the disk is full.
const PAUSE: Duration = Duration::from_secs(5);

/// What went wrong, and with which database.
#[derive(Debug)]
pub(super) enum Trouble {
    Index(rusqlite::Error),
    Store(StoreError),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Index(error)
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// State of the thread.
pub(super) struct Keeper {
    path: PathBuf,
    readers: Arc<Readers>,
    health: watch::Receiver<Health>,
    desk: Arc<Desk>,
    tables: Option<Tables>,
    /// Sessions to be read on, each once.
    behind: VecDeque<SessionId>,
    /// Whether all sessions were looked at since the index was opened first.
    compared: bool,
    /// Something was taken out and is not scrubbed yet.
    rests: bool,
    /// Nothing is written before.
    rest_until: Instant,
}

impl Keeper {
    pub(super) fn new(
        path: PathBuf,
        readers: Arc<Readers>,
        health: watch::Receiver<Health>,
        desk: Arc<Desk>,
    ) -> Self {
        Self {
            path,
            readers,
            health,
            desk,
            tables: None,
            behind: VecDeque::new(),
            compared: false,
            rests: false,
            rest_until: Instant::now() + START,
        }
    }

    /// Works until the desk is closed.
    pub(super) fn run(mut self) {
        loop {
            match self.desk.next(self.patience()) {
                Next::Closed => return,
                Next::Ask(Ask::Find { search, reply }) => {
                    let _nobody_waits = reply.send(self.answer(&search));
                }
                Next::Ask(Ask::Forget { session, reply }) => {
                    self.forget(&session);
                    let _nobody_waits = reply.send(());
                }
                Next::Due(written) => {
                    self.add(written);
                    self.go_on();
                }
            }
        }
    }

    /// How long to wait for others before doing something by itself.
    fn patience(&self) -> Option<Duration> {
        let rest = self.rest_until.saturating_duration_since(Instant::now());
        if self.is_behind() {
            Some(rest)
        } else if self.rests {
            Some(rest.max(CALM))
        } else {
            self.tables.is_some().then_some(QUIET)
        }
    }

    fn is_behind(&self) -> bool {
        !self.compared || !self.behind.is_empty()
    }

    fn add(&mut self, written: HashSet<SessionId>) {
        for session in written {
            if !self.behind.contains(&session) {
                self.behind.push_back(session);
            }
        }
    }

    /// One step of what is to be done when nobody asks.
    fn go_on(&mut self) {
        if self.rest_until > Instant::now() {
            return;
        }
        let began = Instant::now();
        if self.is_behind() {
            if self.step() {
                // As long as it worked: half of one processor at most.
                self.rest_until = Instant::now() + began.elapsed();
            }
        } else if self.rests {
            let scrubbed = self.opened().and_then(|tables| Ok(tables.scrub()?));
            self.rests = self.judge(scrubbed).is_none() && self.rests;
        } else {
            // Its log goes with it.
            self.tables = None;
        }
    }

    /// Reads some more. False when it failed, and the thread pauses.
    fn step(&mut self) -> bool {
        if !self.health.borrow().has_room() {
            self.tables = None;
            self.rest_until = Instant::now() + PAUSE;
            return false;
        }
        let read = self.compare().and_then(|()| self.follow());
        self.judge(read).is_some()
    }

    fn opened(&mut self) -> Result<&Tables, Trouble> {
        let tables = match self.tables.take() {
            Some(tables) => tables,
            None => Tables::open(&self.path)?,
        };
        Ok(self.tables.insert(tables))
    }

    /// What came of it, unless it failed. An index that is not whole is made again.
    fn judge<T>(&mut self, done: Result<T, Trouble>) -> Option<T> {
        let trouble = match done {
            Ok(done) => return Some(done),
            Err(trouble) => trouble,
        };
        // Takes back what was begun.
        self.tables = None;
        self.rest_until = Instant::now() + PAUSE;
        match trouble {
            Trouble::Store(StoreError::Closed) => {}
            Trouble::Store(error) => tracing::warn!(%error, "the search index is behind"),
            Trouble::Index(error) if is_damage(&error) => {
                tracing::warn!(%error, "the search index is damaged: it is made again");
                self.begin_anew();
            }
            Trouble::Index(error) => tracing::warn!(%error, "the search index cannot be written"),
        }
        None
    }

    fn begin_anew(&mut self) {
        self.compared = false;
        self.rests = false;
        match tables::remove(&self.path) {
            Ok(()) => self.rest_until = Instant::now(),
            Err(error) => tracing::warn!(%error, "the damaged search index cannot be removed"),
        }
    }

    /// Looks once which sessions were not read to their end, and which are gone.
    fn compare(&mut self) -> Result<(), Trouble> {
        if self.compared {
            return Ok(());
        }
        let there = self.readers.read_now(|on| {
            let mut select = on.prepare("SELECT id, head_seq, head_chain FROM sessions")?;
            let rows = select.query_map([], |row| {
                let head = (row.get::<_, i64>(1)?.cast_unsigned(), row.get(2).ok());
                Ok((row.get::<_, String>(0)?, head))
            })?;
            Ok(rows.collect::<Result<HashMap<String, (u64, Option<Chain>)>, _>>()?)
        })?;
        if there.is_empty() && !self.path.exists() {
            self.compared = true;
            return Ok(());
        }
        let tables = self.opened()?;
        let mut ends = HashMap::new();
        tables.begin()?;
        for (number, id, mark) in tables.sessions()? {
            if there.contains_key(id.as_str()) {
                ends.insert(id.to_string(), (mark.seq, Some(mark.chain)));
            } else {
                tables.forget(number)?;
            }
        }
        tables.commit()?;
        self.rests = tables.has_rests()?;
        let differs = there
            .iter()
            .filter(|(id, head)| ends.get(*id) != Some(head));
        let differs = differs.filter_map(|(id, _)| id.parse().ok()).collect();
        self.add(differs);
        self.compared = true;
        Ok(())
    }

    /// Reads the sessions that were written to, for a while, in one commit.
    fn follow(&mut self) -> Result<(), Trouble> {
        if self.behind.is_empty() {
            return Ok(());
        }
        let began = Instant::now();
        self.opened()?.begin()?;
        let mut done = 0;
        while began.elapsed() < STEP
            && let Some(session) = self.behind.get(done).cloned()
        {
            if !self.read_on(&session)? {
                done += 1;
            }
        }
        self.opened()?.commit()?;
        // Only now: after a failure all of them are still to be read.
        self.behind.drain(..done);
        Ok(())
    }

    /// Reads a page of a session. False when there is no more.
    fn read_on(&mut self, session: &SessionId) -> Result<bool, Trouble> {
        let readers = Arc::clone(&self.readers);
        let tables = self.opened()?;
        let known = tables.mark(session)?;
        let mark = known.map_or(Mark::START, |(_, mark)| mark);
        let page = match readers.read_now(|on| page(on, session, &mark)) {
            Ok(page) => page,
            Err(StoreError::Missing(_)) => Page::Other,
            // Other daemons may find more of it; what is whole was read.
            Err(StoreError::Damaged { .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        match (page, known) {
            (Page::Next(events, end), _) => {
                let number = match known {
                    Some((number, _)) => number,
                    None => tables.add(session)?,
                };
                put(tables, number, &events)?;
                tables.set_mark(number, &end)?;
                Ok(true)
            }
            (Page::End, _) | (Page::Other, None) => Ok(false),
            (Page::Other, Some((number, _))) => {
                tables.forget(number)?;
                self.rests = true;
                Ok(true)
            }
        }
    }

    /// Takes a deleted session out. What fails here is made good by the next look at all sessions.
    fn forget(&mut self, session: &SessionId) {
        self.behind.retain(|other| other != session);
        if self.tables.is_none() && !self.path.exists() {
            return;
        }
        let forgotten = self.opened().and_then(|tables| {
            tables.begin()?;
            if let Some((number, _)) = tables.mark(session)? {
                tables.forget(number)?;
            }
            Ok(tables.commit()?)
        });
        match self.judge(forgotten) {
            Some(()) => self.rests = true,
            None => self.compared = false,
        }
    }

    /// Catches up, as far as that takes no longer than one may wait, and searches.
    fn answer(&mut self, search: &Search) -> Result<Hits, StoreError> {
        let deadline = Instant::now() + PATIENCE;
        let written = self.desk.written();
        self.add(written);
        loop {
            let may_wait = |keeper: &Self| Instant::now() < deadline && !keeper.desk.is_closed();
            while self.is_behind() && may_wait(self) {
                // An index that was not whole is begun anew at once.
                if !self.step() && self.rest_until > Instant::now() {
                    break;
                }
            }
            match self.searched(search) {
                Ok(best) => {
                    let complete = !self.is_behind();
                    return Ok(Hits { best, complete });
                }
                Err(Trouble::Store(error)) => return Err(error),
                Err(Trouble::Index(error)) => {
                    let again = is_damage(&error) && may_wait(self);
                    self.judge::<()>(Err(error.into()));
                    if !again {
                        return Ok(Hits::default());
                    }
                }
            }
        }
    }

    fn searched(&mut self, search: &Search) -> Result<Vec<super::Hit>, Trouble> {
        if self.tables.is_none() && !self.path.exists() {
            return Ok(Vec::new());
        }
        let readers = Arc::clone(&self.readers);
        find(self.opened()?, &readers, search)
    }
}

/// What follows a mark in the store.
enum Page {
    /// These events, and where they end.
    Next(Vec<Event>, Mark),
    /// Nothing yet.
    End,
    /// The log is not the one that was read.
    Other,
}

fn page(
    on: &rusqlite::Transaction<'_>,
    session: &SessionId,
    mark: &Mark,
) -> Result<Page, StoreError> {
    let number = super::super::opening::number_of(on, session)?
        .ok_or_else(|| StoreError::Missing(session.clone()))?;
    let link = |seq| reader::link_at(on, session, number, seq);
    match link(mark.seq) {
        Ok(chain) if chain == mark.chain => {}
        Ok(_) | Err(StoreError::Damaged { .. }) => return Ok(Page::Other),
        Err(error) => return Err(error),
    }
    let events = match reader::events(on, session, mark.seq, Room::of(PAGE)) {
        // What stands before it can still be read.
        Err(StoreError::Damaged { seq, .. }) if seq > mark.seq + 1 => {
            let whole = u32::try_from(seq - mark.seq - 1).unwrap_or(PAGE).min(PAGE);
            reader::events(on, session, mark.seq, Room::of(whole))?
        }
        events => events?,
    };
    let Some(last) = events.last().map(|event| event.seq) else {
        return Ok(Page::End);
    };
    let chain = link(last)?;
    Ok(Page::Next(events, Mark { seq: last, chain }))
}

/// Takes events in. Of a text that changes more than once among them only the last is.
fn put(tables: &Tables, session: i64, events: &[Event]) -> rusqlite::Result<()> {
    let mut texts: BTreeMap<u64, (Spot, String)> = BTreeMap::new();
    for event in events {
        let spot = |item| Spot {
            item,
            seq: event.seq,
            time_ms: event.time_ms,
        };
        match change(event) {
            Some(Change::Title(title)) => {
                texts.insert(0, (spot(0), title));
            }
            Some(Change::Item { id, text }) if id != 0 => {
                texts.insert(id, (spot(id), text));
            }
            Some(Change::Rewound(through)) => {
                texts.retain(|item, _| *item <= through);
                tables.cut(session, through)?;
            }
            Some(Change::Item { .. }) | None => {}
        }
    }
    for (spot, text) in texts.values() {
        tables.put(session, spot, &indexed(text))?;
    }
    Ok(())
}

/// True for errors that only a new file cures.
fn is_damage(error: &rusqlite::Error) -> bool {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown) => true,
        Some(_) => false,
        // A value was not of the type it was written with.
        None => true,
    }
}
