//! The worlds of sessions on disk, without what looks like a secret, so that commands see them also
//! after the daemon's end.
//!
//! One file per session, written whole and then renamed, readable by its owner alone. Nothing is synced: it
//! survives `kill -9`, and a loss of power may cost it. It never fails a session: what cannot be
//! written, read or believed is logged, and costs the environment after the next start.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use quire_proto::id::SessionId;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;

use crate::pure::secrets::Environment;

/// Ends the name of a file that is being written.
const UNFINISHED: &str = ".new";

/// What is kept of a world.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// File mode creation mask.
    pub umask: u32,
    /// Without secrets: they are taken out by who gives it.
    pub environment: Environment,
}

/// The worlds of all sessions of a state directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Worlds(Arc<Path>);

impl Worlds {
    /// Worlds in `directory`, which is made when the first one is kept.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self(Arc::from(directory))
    }

    /// Keeps a world in place of the one before. It is safe against `kill -9` when this returns.
    pub async fn keep(&self, session: &SessionId, kept: Kept) {
        let (worlds, id) = (self.clone(), session.clone());
        let written = spawn_blocking(move || worlds.write(&id, &kept)).await;
        if let Err(error) = written.unwrap_or_else(|panicked| Err(io::Error::other(panicked))) {
            tracing::warn!(%session, %error, "the session's environment is not on disk");
        }
    }

    /// The world that is kept of a session, if any.
    pub async fn find(&self, session: &SessionId) -> Option<Kept> {
        let (worlds, id) = (self.clone(), session.clone());
        let read = spawn_blocking(move || worlds.read(&id)).await;
        match read.unwrap_or_else(|panicked| Err(io::Error::other(panicked))) {
            Ok(kept) => Some(kept),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(%session, %error, "the session's environment cannot be read");
                None
            }
        }
    }

    /// Removes what is kept of a session.
    pub async fn forget(&self, session: &SessionId) {
        let path = self.path(session);
        let removed = spawn_blocking(move || fs::remove_file(path)).await;
        match removed.unwrap_or_else(|panicked| Err(io::Error::other(panicked))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%session, %error, "the session's environment stays on disk");
            }
            _gone => {}
        }
    }

    /// The sessions of which a world is kept. What a killed daemon had not finished to write is removed.
    #[must_use]
    pub fn kept(&self) -> Vec<SessionId> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let (unfinished, whole): (Vec<_>, Vec<_>) =
            names.partition(|name| name.ends_with(UNFINISHED));
        for name in unfinished {
            if let Err(error) = fs::remove_file(self.0.join(&name)) {
                tracing::warn!(name, %error, "an unfinished file stays");
            }
        }
        whole.iter().filter_map(|name| name.parse().ok()).collect()
    }

    fn path(&self, session: &SessionId) -> PathBuf {
        self.0.join(session.as_str())
    }

    fn write(&self, session: &SessionId, kept: &Kept) -> io::Result<()> {
        let path = self.path(session);
        let new = self.0.join(format!("{session}{UNFINISHED}"));
        let written = self
            .create(&new)
            .and_then(|mut file| file.write_all(&encode(kept)?))
            .and_then(|()| fs::rename(&new, &path));
        if written.is_err() {
            // What a full disk left of it; the next start would remove it, too.
            let _gone = fs::remove_file(&new);
        }
        written
    }

    fn create(&self, path: &Path) -> io::Result<fs::File> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let opened = options.open(path);
        if !matches!(&opened, Err(error) if error.kind() == io::ErrorKind::NotFound) {
            return opened;
        }
        // Not what it stands in: a state directory that was removed stays so.
        match DirBuilder::new().mode(0o700).create(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _made => options.open(path),
        }
    }

    fn read(&self, session: &SessionId) -> io::Result<Kept> {
        decode(&fs::read(self.path(session))?)
    }
}

/// A line with a checksum, then JSON: a file that a loss of power cut, or that rots, tells nothing.
fn encode(kept: &Kept) -> io::Result<Vec<u8>> {
    let body = serde_json::to_vec(kept)?;
    let mut bytes = format!("{}\n", checksum(&body)).into_bytes();
    bytes.extend(body);
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> io::Result<Kept> {
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the file is damaged");
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (check, body) = bytes
        .split_at_checked(end.ok_or_else(damaged)? + 1)
        .ok_or_else(damaged)?;
    if check != format!("{}\n", checksum(body)).as_bytes() {
        return Err(damaged());
    }
    Ok(serde_json::from_slice(body)?)
}

fn checksum(body: &[u8]) -> String {
    let digest = Sha256::digest(body);
    digest[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::adapters::small_disk::SmallDisk;

    fn kept() -> Kept {
        let pair = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Kept {
            umask: 0o027,
            environment: [("PATH", "/bin"), ("PS1", "a\nb \u{1b}[0m")]
                .map(pair)
                .into(),
        }
    }

    fn scratch() -> (tempfile::TempDir, Worlds, SessionId) {
        let directory = tempfile::tempdir().unwrap();
        let worlds = Worlds::new(directory.path().join("worlds"));
        (directory, worlds, SessionId::random())
    }

    #[tokio::test]
    async fn what_is_kept_is_found_until_it_is_forgotten() {
        let (_directory, worlds, id) = scratch();
        assert_eq!(worlds.find(&id).await, None);
        worlds.keep(&id, Kept::default()).await;
        worlds.keep(&id, kept()).await;
        assert_eq!(worlds.find(&id).await, Some(kept()));
        assert_eq!(worlds.kept(), std::slice::from_ref(&id));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&worlds.path(&id)), mode(&worlds.0)), (0o600, 0o700));
        worlds.forget(&id).await;
        worlds.forget(&id).await;
        assert_eq!(worlds.find(&id).await, None);
        assert_eq!(fs::read_dir(&worlds.0).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_file_that_is_not_what_was_written_is_none() {
        let (_directory, worlds, id) = scratch();
        worlds.keep(&id, kept()).await;
        let whole = fs::read(worlds.path(&id)).unwrap();
        for cut in 0..whole.len() {
            fs::write(worlds.path(&id), &whole[..cut]).unwrap();
            assert_eq!(worlds.find(&id).await, None, "cut at {cut}");
            let mut flipped = whole.clone();
            flipped[cut] ^= 1;
            fs::write(worlds.path(&id), &flipped).unwrap();
            assert_eq!(worlds.find(&id).await, None, "flipped at {cut}");
        }
    }

    #[test]
    fn what_was_not_finished_is_removed() {
        let (_directory, worlds, id) = scratch();
        worlds.write(&id, &kept()).unwrap();
        let other = SessionId::random();
        fs::write(worlds.0.join(format!("{other}{UNFINISHED}")), "{").unwrap();
        assert_eq!(worlds.kept(), [id]);
        assert_eq!(fs::read_dir(&worlds.0).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn a_full_disk_keeps_what_was_kept() {
        let Some(disk) = SmallDisk::new(64) else {
            return;
        };
        let (worlds, id) = (Worlds::new(disk.path().join("worlds")), SessionId::random());
        worlds.keep(&id, kept()).await;
        disk.fill();
        let value = "x".repeat(32 << 10);
        let large = Kept {
            environment: [("LARGE".to_owned(), value)].into(),
            ..kept()
        };
        worlds.keep(&id, large).await;
        assert_eq!(worlds.find(&id).await, Some(kept()));
        assert_eq!(worlds.kept(), [id]);
    }
}
