//! The daemon's log: `quired.log`, and a few older files beside it.
//!
//! `QUIRE_LOG` sets the level, as `info`, `debug` or `quired=debug`. Libraries that would log headers or
//! bodies, and with them tokens and keys, are never heard below `warn`.

use std::{
    env, fs,
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt as _,
    panic,
    path::{Path, PathBuf},
    sync::Mutex,
};

use tracing_subscriber::{EnvFilter, fmt::writer::MakeWriterExt as _};

use super::{Mode, error::StartError};

/// A file larger than this is put aside.
const FILE_BYTES: u64 = 1 << 20;

/// Files put aside, as `quired.log.1` (newest) and so on.
const OLD_FILES: u32 = 3;

/// Those that carry headers and bodies.
const QUIET: [&str; 6] = ["h2", "hyper", "hyper_util", "reqwest", "rustls", "tower"];

/// Begins to log into `directory`, and to stderr too in the foreground. Panics are logged.
pub(super) fn start(directory: &Path, mode: Mode) -> Result<(), StartError> {
    let path = directory.join("quired.log");
    let file = Rotating::open(&path, FILE_BYTES).map_err(|source| StartError::Write {
        path: path.clone(),
        source,
    })?;
    let file = Mutex::new(file);
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter(env::var("QUIRE_LOG").ok().as_deref()))
        .with_ansi(false);
    // Only a second start in one process could find a log already set; it goes on with that one.
    let _already_set = match mode {
        Mode::Foreground => log.with_writer(file.and(io::stderr)).try_init(),
        Mode::Background => log.with_writer(file).try_init(),
    };
    log_panics(mode);
    Ok(())
}

fn filter(wanted: Option<&str>) -> EnvFilter {
    let wanted = wanted.and_then(|text| EnvFilter::try_new(text).ok());
    let filter = wanted.unwrap_or_else(|| EnvFilter::new("info"));
    QUIET.iter().fold(filter, |filter, target| {
        match format!("{target}=warn").parse() {
            Ok(directive) => filter.add_directive(directive),
            Err(_never) => filter,
        }
    })
}

fn log_panics(mode: Mode) {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(ToString::to_string);
        let message = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(place, message, "panicked");
        if mode == Mode::Foreground {
            print(panic);
        }
    }));
}

/// A file that is put aside when it has grown. What can't be written is lost: a log must never stop
/// what it tells of.
struct Rotating {
    path: PathBuf,
    /// `None` while the disk is too full to have one.
    file: Option<File>,
    size: u64,
    limit: u64,
}

impl Rotating {
    /// # Errors
    ///
    /// Only those that will not go away by themselves.
    fn open(path: &Path, limit: u64) -> io::Result<Self> {
        let mut log = Self {
            path: path.to_owned(),
            file: None,
            size: 0,
            limit,
        };
        match log.reopen() {
            Err(error) if error.kind() != io::ErrorKind::StorageFull => Err(error),
            _opened_or_full => Ok(log),
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        let file = append_to(&self.path)?;
        self.size = file.metadata()?.len();
        self.file = Some(file);
        Ok(())
    }

    /// Nothing moves before there is a new file: on a full disk the old ones stay where they are.
    fn rotate(&mut self) -> io::Result<()> {
        let next = self.path.with_added_extension("next");
        let file = append_to(&next)?;
        let old = |number: u32| self.path.with_added_extension(number.to_string());
        for number in (1..OLD_FILES).rev() {
            let _absent = fs::rename(old(number), old(number + 1));
        }
        // Someone may have removed it.
        let _absent = fs::rename(&self.path, old(1));
        fs::rename(&next, &self.path)?;
        self.file = Some(file);
        self.size = 0;
        Ok(())
    }

    fn keep(&mut self, line: &[u8]) -> io::Result<()> {
        if self.file.is_none() {
            self.reopen()?;
        }
        if self.size >= self.limit
            && let Err(error) = self.rotate()
            && self.size >= 2 * self.limit
        {
            return Err(error);
        }
        if let Some(file) = &mut self.file {
            self.size += file.write(line)? as u64;
        }
        Ok(())
    }
}

impl Write for Rotating {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _lost = self.keep(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::small_disk::SmallDisk;

    #[test]
    fn old_files_are_few_and_the_newest_lines_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("quired.log");
        let mut log = Rotating::open(&path, 20).unwrap();
        for number in 0..100 {
            writeln!(log, "line {number:04}").unwrap();
        }
        let mut names: Vec<_> = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let want = ["quired.log", "quired.log.1", "quired.log.2", "quired.log.3"];
        assert_eq!(names, want);
        let read = |name| fs::read_to_string(directory.path().join(name)).unwrap();
        let newest = read("quired.log.1") + &read("quired.log");
        assert!(newest.ends_with("line 0098\nline 0099\n"), "{newest}");
    }

    #[test]
    fn a_full_disk_costs_lines_and_nothing_else() {
        let Some(disk) = SmallDisk::new(64) else {
            return;
        };
        let path = disk.path().join("quired.log");
        disk.fill();
        let mut log = Rotating::open(&path, 8 << 10).unwrap();
        for _ in 0..1_000 {
            writeln!(log, "lost").unwrap();
        }
        disk.empty();
        for number in 0..10_000 {
            writeln!(log, "line {number:05}").unwrap();
        }
        disk.fill();
        writeln!(log, "{}", "lost".repeat(2_000)).unwrap();
        disk.empty();
        writeln!(log, "newest").unwrap();
        let read = fs::read_to_string(&path).unwrap();
        assert!(read.ends_with("newest\n"), "{read}");
        assert!(log.size <= 3 * log.limit);
    }

    #[test]
    fn a_log_that_cannot_be_put_aside_stops_growing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("quired.log");
        let mut log = Rotating::open(&path, 100).unwrap();
        // A directory in its way: no new file can be made.
        fs::create_dir(path.with_added_extension("next")).unwrap();
        for number in 0..1_000 {
            writeln!(log, "line {number:04}").unwrap();
        }
        let size = fs::metadata(&path).unwrap().len();
        assert!((200..300).contains(&size), "{size}");
        assert!(!path.with_added_extension("1").exists());
    }

    #[test]
    fn what_carries_secrets_stays_quiet_whatever_is_asked_for() {
        for wanted in [None, Some("trace"), Some("h2=trace"), Some("=nonsense=")] {
            let shown = filter(wanted).to_string();
            assert!(shown.contains("h2=warn"), "for {wanted:?}: {shown}");
            assert!(!shown.contains("h2=trace"), "for {wanted:?}: {shown}");
        }
        assert!(filter(None).to_string().contains("info"));
    }
}
