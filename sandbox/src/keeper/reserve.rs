//! Room on the disk for the exit record, taken before the command runs: it may fill the disk.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

use quire_sandbox::{
    record::{EXIT_FILE, ExitRecord},
    report::Report,
};
use rustix::{
    fs::{FallocateFlags, fallocate},
    io::Errno,
};

/// One block of most file systems.
const BYTES: usize = 4096;
/// Its name until it becomes the record.
const PART: &str = "exit.json.part";

/// A file that will become the exit record.
#[derive(Debug)]
pub(super) struct Reserve(File);

impl Reserve {
    /// Takes the room in `directory`. Not waited for: what is lost with the power was not needed.
    pub(super) fn take(directory: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(directory.join(PART))?;
        match fallocate(&file, FallocateFlags::empty(), 0, BYTES as u64) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => file.write_all(&[0; BYTES])?,
            result => result?,
        }
        Ok(Self(file))
    }

    /// Becomes the record: a reader sees all of it or none. What has no room is left out, the
    /// layers' report first.
    pub(super) fn become_record(&self, directory: &Path, record: &ExitRecord) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(record)?;
        if self.0.write_all_at(&bytes, 0).is_err() {
            let bare = ExitRecord {
                report: Report::default(),
                error: record
                    .error
                    .as_ref()
                    .map(|error| error.chars().take(BYTES / 8).collect()),
                ..record.clone()
            };
            bytes = serde_json::to_vec(&bare)?;
            self.0.write_all_at(&bytes, 0)?;
        }
        self.0.set_len(bytes.len() as u64)?;
        fs::rename(directory.join(PART), directory.join(EXIT_FILE))
    }
}
