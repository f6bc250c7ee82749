//! Whether files still hold what they held, found out at the price of a look at each.
//!
//! A file whose size, times and inode are as they were when it was last hashed is taken to be the same.
//! Only a hint: an edit always compares the contents themselves.

use std::{
    collections::HashMap,
    fs::{self, Metadata},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use sha2::{Digest, Sha256};

use super::open_file;
use crate::pure::{changed::Outdated, transcript::seen::Fingerprint};

/// Most bytes that are hashed at a time; what is left over is looked at the next time.
const HASHED: u64 = 32 << 20;

/// A change that soon after another may leave the times as they are.
const SETTLED: Duration = Duration::from_millis(50);

/// What files looked like when they were last hashed.
#[derive(Debug, Default)]
pub struct Stamps(HashMap<PathBuf, (Stamp, Fingerprint)>);

/// What tells a changed file from an unchanged one without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamps {
    /// The files among `believed` that do not hold what is believed, and forgets all others. Blocks.
    pub fn outdated(&mut self, believed: &[(PathBuf, Fingerprint)]) -> Vec<Outdated> {
        let mut room = HASHED;
        let mut before = std::mem::take(&mut self.0);
        let mut outdated = Vec::new();
        for (path, content) in believed {
            let known = before.remove(path);
            match self.look(path, content, known, &mut room) {
                Look::Same | Look::Unclear => {}
                Look::Differs => outdated.push(Outdated {
                    path: path.clone(),
                    removed: false,
                }),
                Look::Gone => outdated.push(Outdated {
                    path: path.clone(),
                    removed: true,
                }),
            }
        }
        outdated
    }

    fn look(
        &mut self,
        path: &Path,
        content: &Fingerprint,
        known: Option<(Stamp, Fingerprint)>,
        room: &mut u64,
    ) -> Look {
        let found = match fs::symlink_metadata(path) {
            Ok(found) if found.is_file() => found,
            Ok(_) => return Look::Differs,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Look::Gone,
            Err(_) => return Look::Unclear,
        };
        let stamp = Stamp::of(&found);
        if let Some(known) = known.filter(|known| *known == (stamp, *content)) {
            self.0.insert(path.to_owned(), known);
            return Look::Same;
        }
        if found.len() > *room {
            return Look::Unclear;
        }
        *room -= found.len();
        match hash(path, found.len()) {
            Ok(Some(now)) if now == *content => {
                if is_settled(&found) {
                    self.0.insert(path.to_owned(), (stamp, now));
                }
                Look::Same
            }
            Ok(_) => Look::Differs,
            Err(_) => Look::Unclear,
        }
    }
}

enum Look {
    Same,
    Differs,
    Gone,
    /// It cannot be told, or not now.
    Unclear,
}

impl Stamp {
    fn of(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }
}

/// Whether the next change is sure to show in the times.
fn is_settled(found: &Metadata) -> bool {
    let seconds = u64::try_from(found.ctime()).unwrap_or_default();
    let nanos = u32::try_from(found.ctime_nsec()).unwrap_or_default();
    let changed = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos);
    let since = SystemTime::now().duration_since(changed);
    since.is_ok_and(|since| since > SETTLED)
}

/// The hash of a file of that size; `None` when it has another one.
fn hash(path: &Path, size: u64) -> io::Result<Option<Fingerprint>> {
    let mut file = open_file(path)?.take(size + 1);
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    let mut read = 0;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok((read == size).then(|| hash.finalize().into()));
        }
        read += count as u64;
        hash.update(&buffer[..count]);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn known(text: &str) -> Fingerprint {
        Sha256::digest(text).into()
    }

    #[test]
    fn only_files_that_hold_something_else_are_told() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().canonicalize().unwrap().join(name);
        for name in ["same", "touched", "changed", "gone", "linked", "huge"] {
            fs::write(at(name), "old").unwrap();
        }
        let believed: Vec<_> = ["same", "touched", "changed", "gone", "linked", "huge"]
            .map(|name| (at(name), known("old")))
            .into();
        let mut stamps = Stamps::default();
        assert_eq!(stamps.outdated(&believed), []);

        fs::write(at("touched"), "old").unwrap();
        // As long, so that only the times tell.
        fs::write(at("changed"), "new").unwrap();
        fs::remove_file(at("gone")).unwrap();
        fs::remove_file(at("linked")).unwrap();
        symlink("same", at("linked")).unwrap();
        let huge = fs::File::options().write(true).open(at("huge")).unwrap();
        huge.set_len(HASHED + 1).unwrap();
        let told = stamps.outdated(&believed);
        let told: Vec<_> = told
            .iter()
            .map(|file| (file.path.clone(), file.removed))
            .collect();
        let want = [("changed", false), ("gone", true), ("linked", false)];
        assert_eq!(told, want.map(|(name, removed)| (at(name), removed)));
    }

    #[test]
    fn a_file_is_hashed_once_and_then_only_looked_at() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().canonicalize().unwrap().join("f");
        fs::write(&path, "old").unwrap();
        let believed = [(path.clone(), known("old"))];
        let mut stamps = Stamps::default();
        while stamps.0.is_empty() {
            // Until its last change is long enough ago.
            assert_eq!(stamps.outdated(&believed), []);
        }
        let remembered = |stamps: &Stamps| stamps.0[&path].0;
        let first = remembered(&stamps);
        // Were it hashed, this would be told.
        stamps.0.insert(path.clone(), (first, known("other")));
        assert_eq!(stamps.outdated(&[(path.clone(), known("other"))]), []);
        assert_eq!(stamps.outdated(&[]), []);
        assert!(stamps.0.is_empty(), "what nobody asks for is forgotten");
    }
}
