//! Who changes which files: where sessions leave word for each other.
//!
//! Sessions do not know each other. Each takes a [`Seat`], says what it changed once that is in its log,
//! and picks up what was left for it when it next asks its model. Nobody is woken, nothing is queued
//! without bound, and nothing is kept on disk: what the model has read and others changed is found out
//! from the files, too.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    ports::tool::Authors,
    pure::{
        news::{Author, Letter, NAMED},
        transcript::seen::Fingerprint,
    },
};

/// Files of which it is remembered who changed them last.
const REMEMBERED: usize = 4_096;

/// The board of one daemon. Cheap to clone.
#[derive(Clone, Default)]
pub struct Board(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    seats: HashMap<u64, Sitting>,
    last_seat: u64,
    left: HashMap<PathBuf, Left>,
    /// The files in `left`, those first remembered first.
    order: VecDeque<PathBuf>,
}

/// One living session.
struct Sitting {
    session: String,
    workspace: PathBuf,
    /// What is left for it, by the session it is from.
    letters: BTreeMap<String, Letter>,
}

/// The newest change to a file.
struct Left {
    author: Author,
    before: Option<Fingerprint>,
    after: Option<Fingerprint>,
}

/// A change to one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Absolute.
    pub path: PathBuf,
    /// What was there; `None` for nothing.
    pub before: Option<Fingerprint>,
    /// What is there now; `None` for nothing.
    pub after: Option<Fingerprint>,
}

impl Board {
    /// A place for a session that works in `workspace`.
    #[must_use]
    pub fn seat(&self, session: &str, workspace: &Path) -> Seat {
        let mut state = self.state();
        state.last_seat += 1;
        let number = state.last_seat;
        let sitting = Sitting {
            session: session.to_owned(),
            workspace: workspace.to_owned(),
            letters: BTreeMap::new(),
        };
        state.seats.insert(number, sitting);
        Seat {
            board: self.clone(),
            number,
            session: session.to_owned(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock can leave it half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session's place at the board; dropped, nothing is left for it any more.
pub struct Seat {
    board: Board,
    number: u64,
    session: String,
}

impl Seat {
    /// Says what this session is about to write, so that it is known by what it leaves.
    pub fn announce(&self, author: &Author, changes: &[Change]) {
        let mut state = self.board.state();
        for change in changes {
            state.remember(author, change);
        }
    }

    /// Tells the others in whose workspaces these changes are.
    pub fn tell(&self, author: &Author, changes: &[Change]) {
        let mut state = self.board.state();
        for change in changes {
            state.remember(author, change);
            state.deliver(&self.session, author, change);
        }
    }

    /// Picks up what was left for this session.
    #[must_use]
    pub fn take(&self) -> Vec<Letter> {
        let mut state = self.board.state();
        let sitting = state.seats.get_mut(&self.number);
        let letters = sitting.map(|sitting| std::mem::take(&mut sitting.letters));
        letters.unwrap_or_default().into_values().collect()
    }

    /// Puts back what could not be told.
    pub fn put_back(&self, letters: Vec<Letter>) {
        let mut state = self.board.state();
        let Some(sitting) = state.seats.get_mut(&self.number) else {
            return;
        };
        for letter in letters {
            let Letter {
                author,
                files,
                more,
            } = letter;
            let kept = sitting.letter(&author);
            kept.more += more;
            for (path, after) in files {
                // What came meanwhile is newer.
                kept.files.entry(path).or_insert(after);
            }
        }
    }

    /// Who changes files, other than this session.
    #[must_use]
    pub fn authors(&self) -> Arc<dyn Authors> {
        Arc::new(Others {
            board: self.board.clone(),
            session: self.session.clone(),
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.board.state().seats.remove(&self.number);
    }
}

impl State {
    fn remember(&mut self, author: &Author, change: &Change) {
        let left = Left {
            author: author.clone(),
            before: change.before,
            after: change.after,
        };
        if self.left.insert(change.path.clone(), left).is_none() {
            self.order.push_back(change.path.clone());
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.left.remove(&oldest);
        }
    }

    fn deliver(&mut self, from: &str, author: &Author, change: &Change) {
        for sitting in self.seats.values_mut() {
            if sitting.session != from && change.path.starts_with(&sitting.workspace) {
                let letter = sitting.letter(author);
                if letter.files.len() < NAMED || letter.files.contains_key(&change.path) {
                    letter.files.insert(change.path.clone(), change.after);
                } else {
                    letter.more += 1;
                }
            }
        }
    }
}

impl Sitting {
    /// The letter of that session, by its newest title.
    fn letter(&mut self, author: &Author) -> &mut Letter {
        let letter = self
            .letters
            .entry(author.session.clone())
            .or_insert_with(|| Letter {
                author: author.clone(),
                files: BTreeMap::new(),
                more: 0,
            });
        letter.author = author.clone();
        letter
    }
}

/// The board as one session asks it.
struct Others {
    board: Board,
    session: String,
}

impl fmt::Debug for Others {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Others").finish_non_exhaustive()
    }
}

impl Authors for Others {
    fn of(&self, path: &Path, before: Fingerprint, now: Option<Fingerprint>) -> Option<Author> {
        let state = self.board.state();
        let left = state.left.get(path)?;
        let is_it = left.after == now || left.before == Some(before);
        (is_it && left.author.session != self.session).then(|| left.author.clone())
    }
}
