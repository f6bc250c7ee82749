//! A plan as people and the model are told of it.

use std::path::Path;

use quire_proto::v1::{FileChange, FileOperation};

use crate::pure::patch::diff;

use super::{Change, Content, Plan};

impl Plan {
    /// The changes as people see them. Paths inside of `workspace` are relative to it. A file that
    /// was moved away is told with its new name only.
    #[must_use]
    pub fn previews(&self, workspace: &Path) -> Vec<FileChange> {
        let shown = |path: &Path| {
            let path = path.strip_prefix(workspace).unwrap_or(path);
            path.to_string_lossy().into_owned()
        };
        let sources: Vec<&Path> = self.moves().map(|(_, source)| source).collect();
        let kept =
            |change: &&Change| change.after.is_some() || !sources.contains(&change.path.as_path());
        let changes = self.changes.iter().filter(kept);
        changes
            .map(|change| {
                let diff = diff(
                    self.old_bytes(change),
                    change.after.as_deref().unwrap_or(b""),
                );
                FileChange {
                    path: shown(&change.path),
                    operation: change.operation().into(),
                    moved_from: change.moved_from.as_deref().map(shown).unwrap_or_default(),
                    diff: diff.text,
                    added_lines: diff.added,
                    removed_lines: diff.removed,
                }
            })
            .collect()
    }

    /// Each file that takes over from another one, and that one.
    fn moves(&self) -> impl Iterator<Item = (&Change, &Path)> {
        let moved = self.changes.iter();
        moved.filter_map(|change| Some((change, change.moved_from.as_deref()?)))
    }

    /// The bytes a change starts from: for a moved file those of its source.
    fn old_bytes<'a>(&'a self, change: &'a Change) -> &'a [u8] {
        let source = change.moved_from.as_ref();
        let source = source.and_then(|path| self.changes.iter().find(|other| other.path == *path));
        match &source.unwrap_or(change).before {
            Some(Content::File(bytes)) => bytes,
            _ => b"",
        }
    }
}

impl Change {
    fn operation(&self) -> FileOperation {
        match (&self.moved_from, &self.before, &self.after) {
            (Some(_), _, _) => FileOperation::Moved,
            (None, _, None) => FileOperation::Deleted,
            (None, None, Some(_)) => FileOperation::Added,
            (None, Some(_), Some(_)) => FileOperation::Modified,
        }
    }
}
