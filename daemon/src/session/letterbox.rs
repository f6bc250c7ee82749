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
        changed::{Author, Letter, NAMED},
        transcript::seen::Fingerprint,
    },
};

/// Files of which it is remembered who changed them last.
const REMEMBERED: usize = 4_096;

/// The letterbox of one daemon. Cheap to clone.
#[derive(Clone, Default)]
pub struct Letterbox(Arc<Mutex<State>>);

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

impl Letterbox {
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
            letterbox: self.clone(),
            number,
            session: session.to_owned(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock can leave it half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session's place at the letterbox; dropped, nothing is left for it any more.
pub struct Seat {
    letterbox: Letterbox,
    number: u64,
    session: String,
}

impl Seat {
    /// Says what this session is about to write, so that it is known by what it leaves.
    pub fn announce(&self, author: &Author, changes: &[Change]) {
        let mut state = self.letterbox.state();
        for change in changes {
            state.remember(author, change);
        }
    }

    /// Tells the others in whose workspaces these changes are.
    pub fn tell(&self, author: &Author, changes: &[Change]) {
        let mut state = self.letterbox.state();
        for change in changes {
            state.remember(author, change);
            state.deliver(&self.session, author, change);
        }
    }

    /// Picks up what was left for this session.
    #[must_use]
    pub fn take(&self) -> Vec<Letter> {
        let mut state = self.letterbox.state();
        let sitting = state.seats.get_mut(&self.number);
        let letters = sitting.map(|sitting| std::mem::take(&mut sitting.letters));
        letters.unwrap_or_default().into_values().collect()
    }

    /// Puts back what could not be told.
    pub fn put_back(&self, letters: Vec<Letter>) {
        let mut state = self.letterbox.state();
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
            letterbox: self.letterbox.clone(),
            session: self.session.clone(),
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.letterbox.state().seats.remove(&self.number);
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

/// The letterbox as one session asks it.
struct Others {
    letterbox: Letterbox,
    session: String,
}

impl fmt::Debug for Others {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Others").finish_non_exhaustive()
    }
}

impl Authors for Others {
    fn of(
        &self,
        path: &Path,
        before: Option<Fingerprint>,
        now: Option<Fingerprint>,
    ) -> Option<Author> {
        let state = self.letterbox.state();
        let left = state.left.get(path)?;
        let is_it = left.after == now || (before.is_some() && left.before == before);
        (is_it && left.author.session != self.session).then(|| left.author.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: Fingerprint = [1; 32];
    const AFTER: Fingerprint = [2; 32];

    fn change(path: &str) -> Change {
        Change {
            path: path.into(),
            before: Some(BEFORE),
            after: Some(AFTER),
        }
    }

    fn author(session: &str) -> Author {
        Author {
            session: session.to_owned(),
            title: String::new(),
        }
    }

    fn paths(seat: &Seat) -> Vec<String> {
        let letters = seat.take().into_iter();
        let files = letters.flat_map(|letter| {
            let session = letter.author.session;
            let paths = letter.files.into_keys();
            paths.map(move |path| format!("{session}: {}", path.display()))
        });
        files.collect()
    }

    #[test]
    fn a_change_is_left_for_the_others_whose_workspace_it_is_in() {
        let letterbox = Letterbox::default();
        let seats = ["/w", "/w", "/w/deep", "/other", "/"];
        let seats: Vec<Seat> = (0..)
            .zip(seats)
            .map(|(nth, at): (u32, _)| letterbox.seat(&nth.to_string(), Path::new(at)))
            .collect();
        let again = letterbox.seat("0", Path::new("/w"));
        seats[0].tell(&author("0"), &[change("/w/a"), change("/w/deep/b")]);
        seats[0].tell(&author("0"), &[change("/w/a")]);
        seats[2].tell(&author("2"), &[change("/w/deep/c")]);
        let want: [&[&str]; 5] = [
            &["2: /w/deep/c"],
            &["0: /w/a", "0: /w/deep/b", "2: /w/deep/c"],
            &["0: /w/deep/b"],
            &[],
            &["0: /w/a", "0: /w/deep/b", "2: /w/deep/c"],
        ];
        for (seat, want) in seats.iter().zip(want) {
            assert_eq!(paths(seat), want);
            assert_eq!(paths(seat), [""; 0], "picked up once");
        }
        assert_eq!(paths(&again), ["2: /w/deep/c"], "never one's own");
    }

    #[test]
    fn what_waits_is_bounded_and_may_be_put_back() {
        let letterbox = Letterbox::default();
        let (from, to) = (
            letterbox.seat("a", Path::new("/w")),
            letterbox.seat("b", Path::new("/w")),
        );
        for nth in 0..NAMED + 3 {
            from.tell(&author("a"), &[change(&format!("/w/{nth:03}"))]);
        }
        let letters = to.take();
        assert_eq!((letters[0].files.len(), letters[0].more), (NAMED, 3));
        from.tell(&author("a"), &[change("/w/new")]);
        to.put_back(letters);
        let letters = to.take();
        assert_eq!((letters[0].files.len(), letters[0].more), (NAMED + 1, 3));
        drop(to);
        from.tell(&author("a"), &[change("/w/new")]);
        assert_eq!(letterbox.state().seats.len(), 1);
    }

    #[test]
    fn an_author_is_known_by_what_was_found_or_left() {
        let letterbox = Letterbox::default();
        let (a, b) = (
            letterbox.seat("a", Path::new("/w")),
            letterbox.seat("b", Path::new("/w")),
        );
        a.announce(&author("a"), &[change("/w/f")]);
        assert_eq!(paths(&b), [""; 0], "nothing has happened yet");
        let table = [
            (Some(BEFORE), Some(AFTER), true),
            (Some([9; 32]), Some(AFTER), true),
            (None, Some(AFTER), true),
            (Some(BEFORE), Some([9; 32]), true),
            (Some(BEFORE), None, true),
            (Some(AFTER), Some([9; 32]), false),
            (None, Some([9; 32]), false),
        ];
        for (before, now, known) in table {
            let of = |seat: &Seat| seat.authors().of(Path::new("/w/f"), before, now);
            assert_eq!(of(&b).is_some(), known, "{before:?} {now:?}");
            assert_eq!(of(&a), None, "not others");
        }
        for nth in 0..REMEMBERED {
            a.announce(&author("a"), &[change(&format!("/w/{nth}"))]);
        }
        assert_eq!(b.authors().of(Path::new("/w/f"), Some(BEFORE), None), None);
        assert_eq!(letterbox.state().left.len(), REMEMBERED);
    }
}
