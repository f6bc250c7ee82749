//! What a patch would do to the disk as it is now: reads, never writes.
//!
//! The edits of a patch see each other's results in order, so a file may be added and then updated.
//! The plan names each file once, with what it must hold before and what it will hold after.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
};

use crate::pure::patch::{Chunk, Edit, Misfit, Patch, apply};

use super::{Content, Hidden, Resolved, open::read_file, resolve};

/// Directories that keep the state of other programs, or decide what they run. Compared without
/// case: some file systems ignore it.
const PROTECTED: &[&str] = &[".git", ".quire"];

/// Where a patch may reach.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Where relative paths start; absolute.
    pub base: PathBuf,
    /// Directories outside of which nothing is planned; `None` plans anywhere, for a policy to
    /// judge.
    pub roots: Option<Vec<PathBuf>>,
    /// Whether `.git` and `.quire` may be edited.
    pub unprotected: bool,
    /// Files that may not even be looked at.
    pub hidden: Hidden,
}

/// The changes of one patch.
#[derive(Clone, Default)]
pub struct Plan {
    /// One for each file that will differ. Files that are removed come last: a file that is moved
    /// is in its new place before it leaves the old one.
    pub changes: Vec<Change>,
}

/// A change to one file.
#[derive(Clone)]
pub struct Change {
    /// Resolved.
    pub path: PathBuf,
    /// What is there; `None` when nothing is.
    pub before: Option<Content>,
    /// What will be there; `None` when the file is removed.
    pub after: Option<Vec<u8>>,
    /// The file whose content and rights this one takes over, if it is moved.
    pub moved_from: Option<PathBuf>,
    /// Nothing in the patch proves knowledge of what is there: it is added or moved over it.
    pub blind: bool,
}

/// Why a patch cannot be carried out. Says what the model can do about it.
#[derive(Debug, thiserror::Error)]
#[error("`{path}`: {problem}")]
pub struct PlanError {
    /// As the patch names it.
    pub path: String,
    /// What is wrong.
    #[source]
    pub problem: Problem,
}

/// What is wrong with one file of a patch.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It would leave the directories that may be written.
    #[error("it is outside of `{}`: name a file inside", root.display())]
    Outside {
        /// The first of them.
        root: PathBuf,
    },
    /// It belongs to another program.
    #[error("files in `{0}` are not edited by patches: use the program they belong to")]
    Protected(&'static str),
    /// It may hold secrets.
    #[error("it is hidden by the policy")]
    Hidden,
    /// It is to be updated or deleted.
    #[error("there is no such file: name an existing one, or add it with `*** Add File:`")]
    Absent,
    /// A chunk has no place, or several.
    #[error("{0}")]
    Misfit(Box<Misfit>),
    /// It cannot be read.
    #[error("{}", describe(.0))]
    Unreadable(io::Error),
}

/// Finds out what `patch` would change.
///
/// # Errors
///
/// [`PlanError`] for the first edit that cannot be carried out; then none of them can.
pub fn plan(patch: &Patch, bounds: &Bounds) -> Result<Plan, PlanError> {
    let mut view = View {
        bounds,
        roots: Vec::new(),
        states: Vec::new(),
        index: HashMap::new(),
    };
    if let Some(roots) = &bounds.roots {
        // A root that does not exist is written as it is.
        let real = |root: &PathBuf| super::follow(root).unwrap_or_else(|_| root.clone());
        view.roots = roots.iter().map(real).collect();
    }
    for edit in &patch.edits {
        view.edit(edit)?;
    }
    Ok(Plan {
        changes: view.changes(),
    })
}

/// The disk with the edits so far.
struct View<'b> {
    bounds: &'b Bounds,
    /// Resolved.
    roots: Vec<PathBuf>,
    states: Vec<State>,
    index: HashMap<PathBuf, usize>,
}

struct State {
    path: PathBuf,
    before: Option<Content>,
    now: Option<Content>,
    moved_from: Option<PathBuf>,
    blind: bool,
}

impl View<'_> {
    fn edit(&mut self, edit: &Edit) -> Result<(), PlanError> {
        match edit {
            Edit::Add { path, lines } => self.add(path, lines),
            Edit::Delete { path } => self.delete(path),
            Edit::Update {
                path,
                move_to,
                chunks,
            } => self.update(path, move_to.as_deref(), chunks),
        }
    }

    fn add(&mut self, path: &str, lines: &[String]) -> Result<(), PlanError> {
        let place = self.resolve(path)?;
        let state = self.target(path, &place.file)?;
        let bytes = lines
            .iter()
            .flat_map(|line| [line, "\n"])
            .collect::<String>();
        self.states[state].now = Some(Content::File(bytes.into_bytes()));
        Ok(())
    }

    fn delete(&mut self, path: &str) -> Result<(), PlanError> {
        let place = self.resolve(path)?;
        // The entry: of a symbolic link the link goes, not what it leads to.
        let state = self.state(path, &place.entry)?;
        if self.states[state].now.take().is_none() {
            return Err(wrong(path, Problem::Absent));
        }
        Ok(())
    }

    fn update(
        &mut self,
        path: &str,
        move_to: Option<&str>,
        chunks: &[Chunk],
    ) -> Result<(), PlanError> {
        let place = self.resolve(path)?;
        let state = self.state(path, &place.file)?;
        let Some(Content::File(before)) = &self.states[state].now else {
            return Err(wrong(path, Problem::Absent));
        };
        let after = if chunks.is_empty() {
            before.clone()
        } else {
            apply(before, chunks)
                .map_err(|misfit| wrong(path, Problem::Misfit(Box::new(misfit))))?
        };
        let after = Some(Content::File(after));
        let target = match move_to {
            Some(to) => Some((to, self.resolve(to)?.file)),
            None => None,
        };
        match target {
            Some((to, target)) if target != place.file && target != place.entry => {
                let source = self.state(path, &place.entry)?;
                let target = self.target(to, &target)?;
                self.states[source].now = None;
                self.states[target].now = after;
                // A link that is moved becomes a file with the rights of what it led to.
                self.states[target].moved_from = Some(place.file);
            }
            _ => self.states[state].now = after,
        }
        Ok(())
    }

    /// Resolves a path of the patch and checks that it may be edited.
    fn resolve(&self, named: &str) -> Result<Resolved, PlanError> {
        let unreadable = |error| wrong(named, Problem::Unreadable(error));
        let mut place = resolve(&self.bounds.base, Path::new(named)).map_err(unreadable)?;
        let gone = self.index.get(&place.entry);
        if gone.is_some_and(|&state| self.states[state].now.is_none()) {
            // A link that the patch has removed leads nowhere any more.
            place.file.clone_from(&place.entry);
        }
        for path in [&place.entry, &place.file] {
            self.check(path).map_err(|problem| wrong(named, problem))?;
        }
        Ok(place)
    }

    fn check(&self, path: &Path) -> Result<(), Problem> {
        if let Some(root) = self.roots.first()
            && !self
                .roots
                .iter()
                .any(|root| path.starts_with(root) && path != root)
        {
            return Err(Problem::Outside { root: root.clone() });
        }
        if !self.bounds.unprotected {
            let protected = path.iter().find_map(|part| {
                PROTECTED
                    .iter()
                    .find(|name| part.eq_ignore_ascii_case(name))
            });
            if let Some(name) = protected {
                return Err(Problem::Protected(name));
            }
        }
        if self.bounds.hidden.hides(path) {
            return Err(Problem::Hidden);
        }
        Ok(())
    }

    /// The state of a resolved path that takes a content of its own, whatever is there.
    fn target(&mut self, named: &str, path: &Path) -> Result<usize, PlanError> {
        let known = self.index.contains_key(path);
        let index = self.state(named, path)?;
        self.states[index].blind |= !known && self.states[index].before.is_some();
        Ok(index)
    }

    /// The state of a resolved path, read from the disk when it is first asked for.
    fn state(&mut self, named: &str, path: &Path) -> Result<usize, PlanError> {
        if let Some(&index) = self.index.get(path) {
            return Ok(index);
        }
        let before = read_file(path).map_err(|error| wrong(named, Problem::Unreadable(error)))?;
        self.states.push(State {
            path: path.to_owned(),
            now: before.clone(),
            before,
            moved_from: None,
            blind: false,
        });
        let index = self.states.len() - 1;
        self.index.insert(path.to_owned(), index);
        Ok(index)
    }

    fn changes(self) -> Vec<Change> {
        let changed = self
            .states
            .into_iter()
            .filter(|state| state.before != state.now);
        let changes = changed.map(|state| Change {
            path: state.path,
            before: state.before,
            after: match state.now {
                Some(Content::File(bytes)) => Some(bytes),
                _ => None,
            },
            moved_from: state.moved_from,
            blind: state.blind,
        });
        let mut changes: Vec<Change> = changes.collect();
        changes.sort_by_key(|change| change.after.is_none());
        changes
    }
}

fn wrong(path: &str, problem: Problem) -> PlanError {
    PlanError {
        path: path.to_owned(),
        problem,
    }
}

/// The system's word for an error, without its number.
pub(super) fn describe(error: &io::Error) -> String {
    let text = match error.kind() {
        io::ErrorKind::NotADirectory => "a directory on its path is a file".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory: name a file".to_owned(),
        io::ErrorKind::FileTooLarge => "it is too large to patch".to_owned(),
        io::ErrorKind::PermissionDenied => "it may not be read or written".to_owned(),
        _ => error.to_string(),
    };
    text.split(" (os error")
        .next()
        .unwrap_or_default()
        .to_owned()
}
