//! What the model knows of files: which content of each it has been shown, or has made itself.
//!
//! Folded from the outcomes of calls like everything else in the transcript, so it survives whatever
//! the log survives. It knows nothing of the disk: whether a file still is as it was seen is for
//! those to say who look there.

use std::{collections::HashMap, path::Path, sync::Arc};

use quire_proto::v1::{FileSeen, Intent, Item, Outcome, OutcomeStatus, ToolCallItem, item::Kind};

use crate::pure::news::{self, Told};

/// SHA-256 of a file's whole content.
pub type Fingerprint = [u8; 32];

/// The files that the model knows, by absolute path. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    files: Arc<HashMap<String, Known>>,
    /// Sightings so far, to tell which file was seen last.
    sightings: u64,
}

/// What the model knows of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    content: Fingerprint,
    sighting: u64,
    /// The model has been told that this is not what the file holds any more.
    outdated: bool,
}

impl Seen {
    /// What these items, in their order, have shown the model of a session that works in `cwd`.
    pub(super) fn of<'a>(items: impl Iterator<Item = &'a Item>, cwd: &Path) -> Self {
        let mut seen = Self::default();
        items.for_each(|item| seen.apply(item, cwd));
        seen
    }

    /// Takes in an item as an event tells it.
    pub(super) fn apply(&mut self, item: &Item, cwd: &Path) {
        match &item.kind {
            Some(Kind::ToolCall(call)) => self.take_call(call),
            Some(Kind::Notice(notice)) if notice.for_model && !self.files.is_empty() => {
                self.take_told(&news::read(&notice.text, cwd));
            }
            _ => {}
        }
    }

    fn take_call(&mut self, call: &ToolCallItem) {
        let Some(outcome) = &call.outcome else { return };
        if outcome.status() == OutcomeStatus::Succeeded {
            let edits = call.intent.as_ref().map(made).unwrap_or_default();
            edits
                .into_iter()
                .for_each(|(path, content)| self.put(path, content));
        }
        let shown = outcome.seen.iter();
        shown.for_each(|file| self.put(&file.path, file.content.as_slice().try_into().ok()));
    }

    fn take_told(&mut self, told: &Told) {
        match told {
            Told::Files(paths) if paths.is_empty() => {}
            Told::Files(paths) => {
                let files = Arc::make_mut(&mut self.files);
                for path in paths {
                    if let Some(known) = files.get_mut(path) {
                        known.outdated = true;
                    }
                }
            }
            Told::Many => {
                let files = Arc::make_mut(&mut self.files).values_mut();
                files.for_each(|known| known.outdated = true);
            }
        }
    }

    fn put(&mut self, path: &str, content: Option<Fingerprint>) {
        let files = Arc::make_mut(&mut self.files);
        let Some(content) = content else {
            files.remove(path);
            return;
        };
        self.sightings += 1;
        let known = Known {
            content,
            sighting: self.sightings,
            outdated: false,
        };
        files.insert(path.to_owned(), known);
    }

    /// The content of this file that the model has seen last.
    #[must_use]
    pub fn content(&self, path: &str) -> Option<Fingerprint> {
        self.files.get(path).map(|known| known.content)
    }

    /// Whether the model still believes what it has seen of this file.
    #[must_use]
    pub fn is_believed(&self, path: &str) -> bool {
        self.files.get(path).is_some_and(|known| !known.outdated)
    }

    /// The files that the model believes to know, those seen last first, at most `most`.
    #[must_use]
    pub fn believed(&self, most: usize) -> Vec<(&str, Fingerprint)> {
        let believed = self.files.iter().filter(|(_, known)| !known.outdated);
        let mut newest: Vec<_> = believed.collect();
        newest.sort_unstable_by_key(|(_, known)| std::cmp::Reverse(known.sighting));
        newest.truncate(most);
        let files = newest.into_iter();
        files
            .map(|(path, known)| (path.as_str(), known.content))
            .collect()
    }
}

/// What an edit that was carried out has left: a content, or no file.
fn made(intent: &Intent) -> Vec<(&str, Option<Fingerprint>)> {
    let files = intent.files.iter();
    files
        .map(|file| (file.path.as_str(), file.after.as_slice().try_into().ok()))
        .collect()
}

/// Says in an outcome that the model has seen this content of a file; `None` when it has learnt that
/// there is none, or must not go by what it saw before.
pub fn note(outcome: &mut Outcome, path: String, content: Option<Fingerprint>) {
    outcome.seen.push(FileSeen {
        path,
        content: content.map(|content| content.to_vec()).unwrap_or_default(),
    });
}
