//! What the model knows of files: which content of each it has been shown, or has made itself.
//!
//! Folded from the outcomes of calls like everything else in the transcript, so it survives whatever
//! the log survives. It knows nothing of the disk: whether a file still is as it was seen is for
//! those to say who look there.

use std::{collections::HashMap, path::Path, sync::Arc};

use quire_proto::v1::{FileSeen, Intent, Item, Outcome, OutcomeStatus, ToolCallItem, item::Kind};

use crate::pure::changed::{self, Told};

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
                self.take_told(&changed::read(&notice.text, cwd));
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

#[cfg(test)]
mod tests {
    use quire_proto::v1::{
        Event, FileIntent, HistoryRewound, ItemCompleted, ItemStatus, NoticeItem, SessionCreated,
        event::Body,
    };

    use super::*;
    use crate::pure::{changed::Outdated, transcript::Transcript};

    const OLD: Fingerprint = [1; 32];
    const NEW: Fingerprint = [2; 32];

    /// An outcome of this status that showed these files.
    fn shown(status: OutcomeStatus, files: &[(&str, Option<Fingerprint>)]) -> Kind {
        let mut outcome = Outcome {
            status: status.into(),
            ..Outcome::default()
        };
        for (path, content) in files {
            note(&mut outcome, (*path).to_owned(), *content);
        }
        Kind::ToolCall(ToolCallItem {
            outcome: Some(outcome),
            ..ToolCallItem::default()
        })
    }

    fn edited(status: OutcomeStatus, path: &str, after: Option<Fingerprint>) -> Kind {
        let intent = Intent {
            files: vec![FileIntent {
                path: path.to_owned(),
                before: OLD.to_vec(),
                after: after.map(|after| after.to_vec()).unwrap_or_default(),
            }],
            ..Intent::default()
        };
        Kind::ToolCall(ToolCallItem {
            intent: Some(intent),
            outcome: Some(Outcome {
                status: status.into(),
                ..Outcome::default()
            }),
            ..ToolCallItem::default()
        })
    }

    fn told(files: &[&str]) -> Kind {
        let outdated = files.iter().map(|path| Outdated {
            path: path.into(),
            removed: false,
        });
        let outdated: Vec<_> = outdated.collect();
        Kind::Notice(NoticeItem {
            text: changed::write(&Seen::default(), Path::new("/w"), &[], &outdated).model,
            for_model: true,
            ..NoticeItem::default()
        })
    }

    fn transcript(kinds: Vec<Kind>) -> Transcript {
        let mut transcript = Transcript::of("test");
        let created = SessionCreated {
            cwd: "/w".to_owned(),
            ..SessionCreated::default()
        };
        let items = (1..).zip(kinds).map(|(id, kind)| Item {
            id,
            turn: 1,
            status: ItemStatus::Completed.into(),
            kind: Some(kind),
            ..Item::default()
        });
        let items = items.map(|item| Body::ItemCompleted(ItemCompleted { item: Some(item) }));
        let bodies = [Body::SessionCreated(created)].into_iter().chain(items);
        for (seq, body) in (1..).zip(bodies) {
            transcript.apply(&event(seq, body));
        }
        transcript
    }

    fn event(seq: u64, body: Body) -> Event {
        Event {
            seq,
            body: Some(body),
            ..Event::default()
        }
    }

    #[test]
    fn the_model_knows_what_it_was_shown_or_made_last() {
        use OutcomeStatus::{Failed, Succeeded, Unknown};
        let read = |content| shown(Succeeded, &[("/w/a", content)]);
        let table = [
            ("nothing", vec![], None),
            ("read", vec![read(Some(OLD))], Some(OLD)),
            (
                "read again",
                vec![read(Some(OLD)), read(Some(NEW))],
                Some(NEW),
            ),
            (
                "gone when it was read",
                vec![read(Some(OLD)), read(None)],
                None,
            ),
            (
                "a refusal shows the news",
                vec![read(Some(OLD)), shown(Failed, &[("/w/a", Some(NEW))])],
                Some(NEW),
            ),
            (
                "own edit",
                vec![edited(Succeeded, "/w/a", Some(NEW))],
                Some(NEW),
            ),
            (
                "own edit that removes it",
                vec![read(Some(OLD)), edited(Succeeded, "/w/a", None)],
                None,
            ),
            (
                "own edit that was not made",
                vec![read(Some(OLD)), edited(Failed, "/w/a", Some(NEW))],
                Some(OLD),
            ),
            (
                "own edit that nobody knows about",
                vec![read(Some(OLD)), edited(Unknown, "/w/a", Some(NEW))],
                Some(OLD),
            ),
            (
                "another file",
                vec![shown(Succeeded, &[("/w/b", Some(NEW))])],
                None,
            ),
            (
                "told of a change",
                vec![read(Some(OLD)), told(&["/w/a"])],
                Some(OLD),
            ),
        ];
        for (what, kinds, want) in table {
            assert_eq!(transcript(kinds).seen().content("/w/a"), want, "{what}");
        }
    }

    #[test]
    fn what_was_told_is_believed_no_more_until_it_is_seen_again() {
        let read = |path| shown(OutcomeStatus::Succeeded, &[(path, Some(OLD))]);
        let many: Vec<String> = (0..60).map(|nth| format!("/w/{nth}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let table = [
            (vec![read("/w/a"), read("/x/b")], vec!["/x/b", "/w/a"]),
            (
                vec![read("/w/a"), read("/x/b"), told(&["/w/a"])],
                vec!["/x/b"],
            ),
            (
                vec![read("/w/a"), read("/x/b"), told(&["/x/b"])],
                vec!["/w/a"],
            ),
            (
                vec![read("/w/a"), told(&["/w/a"]), read("/w/a")],
                vec!["/w/a"],
            ),
            // More than a notice names.
            (vec![read("/w/a"), read("/x/b"), told(&many)], vec![]),
        ];
        for (kinds, want) in table {
            let transcript = transcript(kinds);
            let believed = transcript.seen().believed(10).into_iter();
            let believed: Vec<_> = believed.map(|(path, _)| path).collect();
            assert_eq!(believed, want);
        }
    }

    #[test]
    fn what_was_seen_after_the_point_of_a_rewind_was_not_seen() {
        let read = |content| shown(OutcomeStatus::Succeeded, &[("/w/a", Some(content))]);
        let mut transcript = transcript(vec![read(OLD), read(NEW)]);
        let rewound = HistoryRewound {
            through_item: 1,
            ..HistoryRewound::default()
        };
        transcript.apply(&event(9, Body::HistoryRewound(rewound)));
        assert_eq!(transcript.seen().content("/w/a"), Some(OLD));
    }
}
