//! What the writer stands on, and what it does when that gives way: a full disk, a failed one, a
//! database that is not whole.
//!
//! Full: the reserve is given up so that outcomes at hand are kept, and what would begin something is refused until
//! the reserve can be made again. Failed: what was acknowledged moves to a new file, on which the work goes on.
//! Not whole: nothing is written any more, and the next start moves the database aside.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use rusqlite::{config::DbConfig, ffi::SQLITE_IOERR_WRITE};

use super::{
    StoreError, aside,
    health::{Teller, Trouble},
    reader::Readers,
    refound,
    reserve::{Reserve, is_want_of_room},
    schema,
    writer::{Answer, Pending, Writer},
};

/// Between two looks whether there is room again.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// Between two attempts to make a new file in place of a failed one.
const ATTEMPT: Duration = Duration::from_millis(if cfg!(test) { 50 } else { 5_000 });

/// Room that the database's files must be able to grow by, in bytes.
const GROWTH: u64 = 64 << 10;

const NO_ROOM: &str =
    "the disk is full: what runs waits and nothing new is begun until some space is free";

/// The files, what stands beside them, and how that is.
pub(super) struct Ground {
    path: PathBuf,
    readers: Arc<Readers>,
    teller: Teller,
    reserve: Reserve,
    /// Since when there was no room, as last looked.
    full: Option<Instant>,
    failed: Option<Failure>,
}

/// Why nothing is written.
struct Failure {
    error: StoreError,
    /// The last attempt to do something about it; `None` before the first.
    tried: Option<Instant>,
    /// True when nothing can be done about it here.
    condemned: bool,
}

impl Ground {
    /// Looks for the reserve, and makes it if there is none.
    pub(super) fn new(path: PathBuf, readers: Arc<Readers>, teller: Teller) -> Self {
        let mut ground = Self {
            reserve: Reserve::beside(&path),
            path,
            readers,
            teller,
            full: None,
            failed: None,
        };
        if !ground.reserve.is_kept()
            && let Err(error) = ground.reserve.make()
        {
            tracing::warn!(%error, "no reserve");
            // What was held: whoever starts needs some room for small files.
            ground.reserve.give_up();
            ground.run_out();
        }
        ground
    }

    pub(super) fn is_full(&self) -> bool {
        self.full.is_some()
    }

    pub(super) fn failure(&self) -> Option<&StoreError> {
        self.failed.as_ref().map(|failure| &failure.error)
    }

    /// Whether something may be begun. `now`: looks even if it has looked a moment ago.
    pub(super) fn has_room(&mut self, now: bool) -> bool {
        let Some(looked) = self.full else { return true };
        if !now && looked.elapsed() < LOOK {
            return false;
        }
        self.full = Some(Instant::now());
        if self.reserve.make().is_err() {
            return false;
        }
        self.full = None;
        self.teller.take_back(Trouble::Room);
        self.teller.set_room(true);
        true
    }

    fn run_out(&mut self) {
        self.full = Some(Instant::now());
        self.teller.tell(Trouble::Room, NO_ROOM.into());
        self.teller.set_room(false);
    }

    /// SQLite says that the disk is full only where the system says ENOSPC; a quota or a limit on the
    /// size of files is an I/O error to it, but as harmless: nothing was lost, and room cures it.
    pub(super) fn judge(&mut self, error: StoreError) -> StoreError {
        let failed_to_write = match &error {
            StoreError::Io(source) => source
                .sqlite_error()
                .is_some_and(|error| error.extended_code == SQLITE_IOERR_WRITE),
            _ => false,
        };
        if failed_to_write && (self.is_at_limit() || self.meets_quota()) {
            return StoreError::Full;
        }
        error
    }

    fn is_at_limit(&self) -> bool {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Fsize).current;
        let files = [self.path.clone(), refound::beside(&self.path, "-wal")];
        limit.is_some_and(|limit| {
            files
                .iter()
                .filter_map(|file| file.symlink_metadata().ok())
                .any(|metadata| metadata.len() + GROWTH > limit)
        })
    }

    fn meets_quota(&mut self) -> bool {
        self.reserve
            .make()
            .is_err_and(|error| is_want_of_room(&error))
    }

    fn fail(&mut self, error: StoreError) {
        tracing::error!(?error, "the database's file is not written any more");
        self.failed = Some(Failure {
            error,
            tried: None,
            condemned: false,
        });
    }

    /// Leaves the database to the next start.
    fn condemn(&mut self) {
        if let Some(failure) = &mut self.failed {
            failure.condemned = true;
        }
        self.reserve.give_up();
        if let Err(error) = aside::condemn(&self.path) {
            tracing::error!(%error, "the next start will not know that the database is damaged");
        }
        let sentence = "the event store is damaged: the daemon ends, and the next start salvages what can be read";
        self.teller.tell(Trouble::Damage, sentence.into());
        self.teller.condemn();
    }
}

impl Writer {
    /// Commits a group. Each write has its own answer, and what had to be refused harms no other.
    pub(super) fn carry_out(&mut self, group: &[Pending]) -> Vec<Answer> {
        if let Err(error) = self.stand() {
            return vec![Err(error); group.len()];
        }
        let room = self.ground.has_room(false);
        let all: Vec<&Pending> = group.iter().collect();
        answer_some(
            &all,
            |pending| room || !pending.begins,
            |some| self.attempt(some),
        )
    }

    fn attempt(&mut self, group: &[&Pending]) -> Vec<Answer> {
        match self.commit(group).map_err(|error| self.ground.judge(error)) {
            Ok(answers) => answers,
            Err(StoreError::Full) => self.attempt_without_room(group),
            Err(error) if error.is_final() => self.attempt_elsewhere(group, error),
            Err(error) => vec![Err(error); group.len()],
        }
    }

    /// Keeps outcomes in the room of the reserve: all of them, or else each that fits.
    fn attempt_without_room(&mut self, group: &[&Pending]) -> Vec<Answer> {
        if group.iter().any(|pending| !pending.begins) {
            self.ground.reserve.give_up();
        }
        self.ground.run_out();
        answer_some(
            group,
            |pending| !pending.begins,
            |some| {
                let alone = some.chunks(1);
                match self.commit(some).map_err(|error| self.ground.judge(error)) {
                    Ok(answers) => answers,
                    Err(StoreError::Full) if alone.len() > 1 => {
                        alone.flat_map(|one| self.attempt_once(one)).collect()
                    }
                    Err(error) => self.give_up(some, error),
                }
            },
        )
    }

    /// Moves to a new file and commits there.
    fn attempt_elsewhere(&mut self, group: &[&Pending], error: StoreError) -> Vec<Answer> {
        self.fail(error);
        match self.stand() {
            Ok(()) => self.attempt_once(group),
            Err(error) => vec![Err(error); group.len()],
        }
    }

    fn attempt_once(&mut self, group: &[&Pending]) -> Vec<Answer> {
        if let Some(error) = self.ground.failure() {
            return vec![Err(error.clone()); group.len()];
        }
        match self.commit(group).map_err(|error| self.ground.judge(error)) {
            Ok(answers) => answers,
            Err(error) => self.give_up(group, error),
        }
    }

    fn give_up(&mut self, group: &[&Pending], error: StoreError) -> Vec<Answer> {
        if error.is_final() {
            self.fail(error.clone());
        }
        vec![Err(error); group.len()]
    }

    /// Nothing more is written to this file.
    pub(super) fn fail(&mut self, error: StoreError) {
        // Emptying its log when it closes would be to try again what has failed.
        let setting = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        let _kept_in_memory = self.connection.set_db_config(setting, true);
        let damaged = matches!(error, StoreError::Corrupt(_));
        self.ground.fail(error);
        if damaged {
            self.ground.condemn();
        }
    }

    /// Finds out whether there is a file to write to, and makes one if that failed a while ago.
    fn stand(&mut self) -> Result<(), StoreError> {
        let Some(failure) = &mut self.ground.failed else {
            return Ok(());
        };
        let waits = failure.tried.is_some_and(|tried| tried.elapsed() < ATTEMPT);
        if waits || failure.condemned {
            return Err(failure.error.clone());
        }
        failure.tried = Some(Instant::now());
        match self.refound() {
            Ok(()) => {
                self.ground.failed = None;
                let sentence = "the disk failed under the event store; all of it was copied to a new file and the \
                     work goes on, but look after that disk";
                self.ground.teller.tell(Trouble::Disk, sentence.into());
                Ok(())
            }
            Err(error) => Err(self.not_refounded(error)),
        }
    }

    /// The old file's failure stays the answer, unless its content is what hinders.
    fn not_refounded(&mut self, error: StoreError) -> StoreError {
        tracing::error!(?error, "no new file could be made");
        if error.is_of_content() {
            self.ground.condemn();
        } else {
            let why = match &error {
                StoreError::Full => "there is no room for a copy of it",
                _ => "no copy of it can be made",
            };
            let sentence = format!(
                "the disk failed under the event store and {why}: it is tried again every few seconds"
            );
            self.ground.teller.tell(Trouble::Disk, sentence);
        }
        self.ground.failure().cloned().unwrap_or(error)
    }

    fn refound(&mut self) -> Result<(), StoreError> {
        let path = &self.ground.path;
        if !path.with_added_extension("moved").exists() {
            refound::copy(path, self.ends())?;
        }
        // No reader may open a file while its log is gone and the new one not yet there.
        let connection = self.ground.readers.replace(|| {
            refound::finish(path).map_err(StoreError::of_file(path))?;
            schema::open_writer(path)
        })?;
        self.connection = connection;
        Ok(())
    }
}

/// Answers those of a group that `may` be tried by `attempt`, and the others with [`StoreError::Full`].
fn answer_some(
    group: &[&Pending],
    may: impl Fn(&Pending) -> bool,
    attempt: impl FnOnce(&[&Pending]) -> Vec<Answer>,
) -> Vec<Answer> {
    let some: Vec<&Pending> = group.iter().copied().filter(|one| may(one)).collect();
    let mut answers = match some.len() {
        0 => Vec::new(),
        _ => attempt(&some),
    }
    .into_iter();
    let answer = |pending: &&Pending| {
        let tried = may(pending).then(|| answers.next()).flatten();
        tried.unwrap_or(Err(StoreError::Full))
    };
    group.iter().map(answer).collect()
}

#[cfg(test)]
mod tests;
