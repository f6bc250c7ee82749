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
    file: File,
    size: u64,
    limit: u64,
}

impl Rotating {
    fn open(path: &Path, limit: u64) -> io::Result<Self> {
        let file = append_to(path)?;
        Ok(Self {
            path: path.to_owned(),
            size: file.metadata()?.len(),
            file,
            limit,
        })
    }

    fn rotate(&mut self) -> io::Result<()> {
        let old = |number: u32| self.path.with_added_extension(number.to_string());
        for number in (1..OLD_FILES).rev() {
            let _absent = fs::rename(old(number), old(number + 1));
        }
        fs::rename(&self.path, old(1))?;
        self.file = append_to(&self.path)?;
        self.size = 0;
        Ok(())
    }
}

impl Write for Rotating {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.size >= self.limit {
            let _stays_large = self.rotate();
        }
        if let Ok(written) = self.file.write(line) {
            self.size += written as u64;
            return Ok(written);
        }
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
    fn what_carries_secrets_stays_quiet_whatever_is_asked_for() {
        for wanted in [None, Some("trace"), Some("h2=trace"), Some("=nonsense=")] {
            let shown = filter(wanted).to_string();
            assert!(shown.contains("h2=warn"), "for {wanted:?}: {shown}");
            assert!(!shown.contains("h2=trace"), "for {wanted:?}: {shown}");
        }
        assert!(filter(None).to_string().contains("info"));
    }
}
