//! Edits that are based on what a file held once: found out, and refused with the news.
//!
//! A file that the model never saw may be edited, for the lines that a patch names prove that it knows
//! them. What the model has seen must still be so; and what it never saw is not written over.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::{
    adapters::files::{Change, Content, Hidden, Kept, Plan, fingerprint, read_file, resolve},
    ports::tool::{Finished, Place},
    pure::{
        patch::{Chunk, Edit, Patch, glimpse},
        transcript::seen::{Fingerprint, note},
    },
};

use super::super::shown;

/// Most bytes of contents that one refusal shows.
const ROOM: usize = 8 << 10;

/// A file that is not as the patch takes it to be.
pub(super) struct Stale {
    path: PathBuf,
    /// What the model has seen of it last.
    seen: Option<Fingerprint>,
    now: Now,
}

/// What is there instead.
enum Now {
    /// These bytes.
    File(Vec<u8>),
    /// A file that the model does not know, where it adds one.
    Taken(Vec<u8>),
    Nothing,
    /// A link to this path.
    Link(PathBuf),
    Directory,
}

/// What `plan` starts from and the model does not know.
pub(super) fn in_plan(plan: &Plan, place: &Place) -> Vec<Stale> {
    let changes = plan.changes.iter();
    changes
        .filter_map(|change| in_change(change, place))
        .collect()
}

fn in_change(change: &Change, place: &Place) -> Option<Stale> {
    let seen = place.known.seen.content(change.path.to_str()?);
    let now = match (&change.before, seen) {
        (Some(Content::File(bytes)), None) if change.blind => Now::Taken(bytes.clone()),
        (_, None) => return None,
        (_, Some(_)) if change.expected() == seen => return None,
        (Some(Content::File(bytes)), Some(_)) => Now::File(bytes.clone()),
        (Some(Content::Link(target)), Some(_)) => Now::Link(target.clone()),
        (None, Some(_)) => Now::Nothing,
    };
    Some(Stale {
        path: change.path.clone(),
        seen,
        now,
    })
}

/// Files named by `patch` where a link has come since they were seen. What the link leads to is another
/// file.
pub(super) fn replaced(patch: &Patch, place: &Place, hidden: &Hidden) -> Vec<Stale> {
    let linked = |path: PathBuf, seen| {
        let target = std::fs::read_link(&path).ok()?;
        let now = Now::Link(target);
        Some(Stale {
            path,
            seen: Some(seen),
            now,
        })
    };
    let known = known(patch, place, hidden).into_iter();
    known
        .filter_map(|(path, seen)| linked(path, seen))
        .collect()
}

/// Files named by `patch`, which cannot be planned, that are not as the model has seen them.
pub(super) fn on_disk(patch: &Patch, place: &Place, hidden: &Hidden) -> Vec<Stale> {
    let compared = |(path, seen): (PathBuf, Fingerprint)| {
        let now = match read_file(&path) {
            Ok(Some(content)) if content.fingerprint() == seen => return None,
            Ok(Some(Content::File(bytes))) => Now::File(bytes),
            Ok(Some(Content::Link(target))) => Now::Link(target),
            Ok(None) => Now::Nothing,
            Err(error) if error.kind() == std::io::ErrorKind::IsADirectory => Now::Directory,
            Err(_) => return None,
        };
        let seen = Some(seen);
        Some(Stale { path, seen, now })
    };
    let known = known(patch, place, hidden).into_iter();
    known.filter_map(compared).collect()
}

/// Files that `patch` names and the model has seen, where its names stand now.
fn known(patch: &Patch, place: &Place, hidden: &Hidden) -> Vec<(PathBuf, Fingerprint)> {
    let mut known: Vec<(PathBuf, Fingerprint)> = Vec::new();
    let resolved = patch
        .edits
        .iter()
        .flat_map(named)
        .filter_map(|name| resolve(&place.cwd, Path::new(name)).ok());
    for path in resolved.flat_map(|found| [found.entry, found.file]) {
        let seen = path
            .to_str()
            .and_then(|path| place.known.seen.content(path));
        if let Some(seen) = seen
            && !hidden.hides(&path)
            && known.iter().all(|(other, _)| *other != path)
        {
            known.push((path, seen));
        }
    }
    known
}

fn named(edit: &Edit) -> Vec<&str> {
    match edit {
        Edit::Add { path, .. } | Edit::Delete { path } => vec![path],
        Edit::Update { path, move_to, .. } => [Some(path.as_str()), move_to.as_deref()]
            .into_iter()
            .flatten()
            .collect(),
    }
}

/// Files that changed after `plan` was made.
pub(super) fn since(plan: &Plan, place: &Place) -> Vec<Stale> {
    let changed = plan.changes.iter().filter(
        |change| !matches!(fingerprint(&change.path), Ok(found) if found == change.expected()),
    );
    let stale = changed.filter_map(|change| {
        let now = match read_file(&change.path) {
            Ok(Some(Content::File(bytes))) if change.before.is_none() => Now::Taken(bytes),
            Ok(Some(Content::File(bytes))) => Now::File(bytes),
            Ok(Some(Content::Link(target))) => Now::Link(target),
            Ok(None) => Now::Nothing,
            Err(error) if error.kind() == std::io::ErrorKind::IsADirectory => Now::Directory,
            Err(_) => return None,
        };
        let seen = place.known.seen.content(change.path.to_str()?);
        Some(Stale {
            path: change.path.clone(),
            seen,
            now,
        })
    });
    stale.collect()
}

/// Refuses a patch and tells what is there now. What is shown whole counts as seen, so that the same
/// patch may be sent again.
pub(super) fn refuse(patch: &Patch, stale: &[Stale], place: &Place, kept: &Kept) -> Finished {
    let mut text =
        "The patch was not applied and no file changed, for it is about files that are not as you saw them.\n"
            .to_owned();
    let mut finished = Finished::failed("");
    let mut room = ROOM;
    let mut unseen = Vec::new();
    for file in stale {
        let news = file.news(patch, place, kept, room);
        room = room.saturating_sub(news.shown.len());
        text.push_str(&format!("\n{}\n{}", news.head, news.shown));
        if !news.whole {
            unseen.push(format!("`{}`", shown(&file.path, &place.cwd)));
        } else if let (Some(path), true) = (file.path.to_str(), news.counts) {
            note(&mut finished.outcome, path.to_owned(), file.content(kept));
        }
    }
    text.push_str(&match unseen[..] {
        [] => "\nIf the patch is right all the same, send it again; else send one that fits."
            .to_owned(),
        _ => format!(
            "\nRead with `read_file` what was not shown whole, then patch again: {}",
            unseen.join(", ")
        ),
    });
    finished.outcome.text = text;
    finished
}

/// What a refusal says of one file.
struct News {
    head: String,
    /// The change or the content, if there is room for it.
    shown: String,
    /// Nothing is left out.
    whole: bool,
    /// The model knows the file by this.
    counts: bool,
}

impl Stale {
    fn news(&self, patch: &Patch, place: &Place, kept: &Kept, room: usize) -> News {
        let name = shown(&self.path, &place.cwd);
        let who = self.author(place);
        let said = |what: String| News {
            head: what,
            shown: String::new(),
            whole: true,
            counts: self.seen.is_some(),
        };
        let (head, now) = match &self.now {
            Now::Nothing => return said(format!("`{name}` was removed {who}.")),
            Now::Directory => return said(format!("`{name}` became a directory {who}.")),
            Now::Link(target) => {
                let target = target.display();
                return said(format!("`{name}` became a link to `{target}` {who}."));
            }
            Now::Taken(now) => (format!("`{name}` is there already, made {who}"), now),
            Now::File(now) => (format!("`{name}` was changed {who}"), now),
        };
        let old = self.seen.and_then(|seen| kept.get(&seen));
        let chunks = chunks_of(patch, &self.path, place);
        let glimpse = glimpse(old.as_deref(), now, &chunks, room);
        let end = match (&self.now, glimpse.text.is_empty()) {
            (_, false) => ":",
            (Now::Taken(_), true) => ". To replace it unread, delete it in the same patch before.",
            (_, true) => ".",
        };
        News {
            head: format!("{head}{end}"),
            shown: glimpse.text,
            whole: glimpse.whole,
            counts: self.seen.is_some() || matches!(self.now, Now::Taken(_)),
        }
    }

    fn author(&self, place: &Place) -> String {
        let authors = place.known.authors.as_ref();
        let author =
            authors.and_then(|authors| authors.of(&self.path, self.seen, self.fingerprint()));
        match author {
            Some(author) => format!("by {}", author.name()),
            None => "by a command or by someone outside of this session".to_owned(),
        }
    }

    /// Names what is there now; `None` for no file.
    fn fingerprint(&self) -> Option<Fingerprint> {
        match &self.now {
            Now::File(bytes) | Now::Taken(bytes) => Some(Sha256::digest(bytes).into()),
            Now::Nothing | Now::Link(_) | Now::Directory => None,
        }
    }

    /// What the model knows once it has been told; `None` for no file.
    fn content(&self, kept: &Kept) -> Option<Fingerprint> {
        let (Now::File(bytes) | Now::Taken(bytes)) = &self.now else {
            return None;
        };
        let content = self.fingerprint()?;
        kept.keep(content, bytes);
        Some(content)
    }
}

/// What the patch does in the file at a resolved path.
fn chunks_of(patch: &Patch, path: &Path, place: &Place) -> Vec<Chunk> {
    let updates = patch.edits.iter().filter_map(|edit| match edit {
        Edit::Update {
            path: named,
            chunks,
            ..
        } => Some((named, chunks)),
        _ => None,
    });
    let here = updates.filter(|(named, _)| {
        resolve(&place.cwd, Path::new(named)).is_ok_and(|found| found.file == path)
    });
    here.flat_map(|(_, chunks)| chunks.clone()).collect()
}
