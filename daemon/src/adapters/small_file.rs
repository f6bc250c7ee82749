//! Reads files that people write by hand: small, regular, text.
//!
//! A repository may put anything where such a file is looked for: a pipe that never ends, a link to
//! a secret, a device. None of those is read, and none can make a reader wait.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

/// Why a file that is there was not read. Each is a whole clause to follow the file's name.
#[derive(Debug, thiserror::Error)]
pub enum SmallFileError {
    /// A directory, pipe, socket or device.
    #[error("is not a regular file")]
    Special,
    /// More than was asked for.
    #[error("is larger than {most} bytes")]
    Large {
        /// Bytes allowed.
        most: u64,
    },
    /// Bytes that are no text.
    #[error("is not UTF-8")]
    NotText,
    /// It is a link, or is reached through one, to somewhere else.
    #[error("leads out of the workspace, to `{}`", .0.display())]
    Outside(PathBuf),
    /// The system refused.
    #[error("can't be read")]
    Io(#[source] io::Error),
}

/// Reads a file that its owner may have linked to anywhere. `None` when there is none.
///
/// # Errors
///
/// When there is one and it can't be read as text of at most `most` bytes.
pub fn read(path: &Path, most: u64) -> Result<Option<String>, SmallFileError> {
    match open(path, OFlags::empty()) {
        Ok(file) => text(file, most).map(Some),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(SmallFileError::Io(error)),
    }
}

/// Reads a file that a stranger may have put there, and says where it really is. Links are followed
/// only as far as they stay below `directory`, which must exist.
///
/// # Errors
///
/// As [`read`]; [`SmallFileError::Outside`] also for a link to nothing outside.
pub fn read_below(
    directory: &Path,
    path: &Path,
    most: u64,
) -> Result<Option<(PathBuf, String)>, SmallFileError> {
    let directory = fs::canonicalize(directory).map_err(SmallFileError::Io)?;
    let real = match fs::canonicalize(path) {
        Ok(real) => real,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(SmallFileError::Io(error)),
    };
    if !real.starts_with(&directory) {
        return Err(SmallFileError::Outside(real));
    }
    // No link is left in its name; one put there meanwhile is refused.
    match open(&real, OFlags::NOFOLLOW) {
        Ok(file) => Ok(Some((real, text(file, most)?))),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(SmallFileError::Io(error)),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    // Without NONBLOCK, opening a pipe waits for somebody to write to it.
    let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

fn text(file: File, most: u64) -> Result<String, SmallFileError> {
    if !file.metadata().map_err(SmallFileError::Io)?.is_file() {
        return Err(SmallFileError::Special);
    }
    let mut bytes = Vec::new();
    let mut limited = file.take(most + 1);
    limited
        .read_to_end(&mut bytes)
        .map_err(SmallFileError::Io)?;
    if bytes.len() as u64 > most {
        return Err(SmallFileError::Large { most });
    }
    String::from_utf8(bytes).map_err(|_| SmallFileError::NotText)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_small_regular_text_within_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path();
        let within = top.join("w");
        fs::create_dir(&within).unwrap();
        fs::write(within.join("good"), "text").unwrap();
        fs::write(within.join("large"), "0123456789x").unwrap();
        fs::write(within.join("bytes"), b"\xff").unwrap();
        fs::write(top.join("secret"), "secret").unwrap();
        symlink("good", within.join("near")).unwrap();
        symlink("../secret", within.join("far")).unwrap();
        symlink("nowhere", within.join("dangling")).unwrap();
        symlink("loop", within.join("loop")).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        let pipe = within.join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let table = [
            ("good", "text"),
            ("near", "text"),
            ("absent", "nothing"),
            ("dangling", "nothing"),
            ("good/under", "nothing"),
            ("large", "is larger than 10 bytes"),
            ("bytes", "is not UTF-8"),
            ("pipe", "is not a regular file"),
            (".", "is not a regular file"),
            ("far", "leads out of the workspace"),
            ("loop", "can't be read"),
        ];
        for (name, want) in table {
            let got = match read_below(&within, &within.join(name), 10) {
                Ok(Some((_, text))) => text,
                Ok(None) => "nothing".to_owned(),
                Err(error) => error.to_string(),
            };
            assert!(got.starts_with(want), "for {name}: {got}");
        }
        assert_eq!(
            read(&within.join("far"), 10).unwrap().as_deref(),
            Some("secret")
        );
    }
}
