//! What the daemon says about itself in files: the record that clients find it by, and the token that
//! proves a client may read the state directory.

use std::{
    fmt, fs,
    fs::OpenOptions,
    hint, io,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process,
    time::{SystemTime, UNIX_EPOCH},
};

use quire_proto::{
    TOKEN_KEY,
    home::{DaemonRecord, Home},
    protocol, version,
};
use quire_sandbox::record;
use tonic::{Code, Status, codegen::http::HeaderMap};

use super::error::StartError;
use crate::edge::status::refuse;

/// One life of a daemon.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Process id.
    pub pid: u32,
    /// Changes at every start.
    pub id: String,
    /// Milliseconds since the Unix epoch.
    pub started_ms: i64,
    /// Absolute path of the socket.
    pub socket: PathBuf,
}

impl Instance {
    pub(super) fn new(socket: &Path) -> Result<Self, StartError> {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        let started_ms = since_epoch.map_or(0, |since| since.as_millis() as i64);
        Ok(Self {
            pid: process::id(),
            id: random_hex::<8>()?,
            started_ms,
            socket: socket.to_owned(),
        })
    }

    fn record(&self) -> DaemonRecord {
        let protocol = protocol();
        DaemonRecord {
            pid: self.pid,
            start_time: record::start_time(self.pid).unwrap_or(0),
            boot_id: record::boot_id().unwrap_or_default(),
            instance_id: self.id.clone(),
            version: version().into(),
            protocol_min: protocol.min,
            protocol_max: protocol.max,
            socket: self.socket.clone(),
        }
    }
}

/// The record and the token on disk. [`remove`](Self::remove) or drop takes them away.
#[derive(Debug)]
pub(super) struct Files(Home);

impl Files {
    /// Forgets what a killed daemon wrote. The caller holds the lock.
    pub(super) fn clear(home: &Home) -> Self {
        let files = Self(home.clone());
        files.remove();
        files
    }

    /// Writes a new token.
    pub(super) fn write_token(&self) -> Result<Token, StartError> {
        let token = random_hex::<32>()?;
        write_whole(&self.0.token_file(), format!("{token}\n").as_bytes())?;
        Ok(Token(token))
    }

    /// Writes the record. Clients connect from here on.
    pub(super) fn write_record(&self, instance: &Instance) -> Result<(), StartError> {
        let path = self.0.record_file();
        let text =
            serde_json::to_vec_pretty(&instance.record()).map_err(|error| StartError::Write {
                path: path.clone(),
                source: error.into(),
            })?;
        write_whole(&path, &text)
    }

    /// Writes again what someone removed or changed.
    pub(super) fn keep(&self, instance: &Instance, token: &Token) -> Result<(), StartError> {
        let token_is_there = self.0.token().is_ok_and(|there| there == token.0);
        if !token_is_there {
            write_whole(&self.0.token_file(), format!("{}\n", token.0).as_bytes())?;
        }
        if self
            .0
            .record()
            .is_ok_and(|there| there == instance.record())
        {
            return Ok(());
        }
        self.write_record(instance)
    }

    pub(super) fn remove(&self) {
        for path in [self.0.record_file(), self.0.token_file()] {
            let _gone = fs::remove_file(path);
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Changes at every start; confined commands can't read it.
#[derive(Clone)]
pub(super) struct Token(String);

impl Token {
    /// Lets through a call that carries the token.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), Status> {
        let shown = headers.get(TOKEN_KEY).map(|value| value.as_bytes());
        if shown.is_some_and(|shown| same(shown, self.0.as_bytes())) {
            return Ok(());
        }
        let message = format!(
            "this call needs the daemon's token as metadata `{TOKEN_KEY}`: read it from the file \
             `daemon/token` in the state directory"
        );
        Err(refuse(
            Code::Unauthenticated,
            "TOKEN_MISSING_OR_WRONG",
            message,
        ))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Compares in a time that does not tell where the texts differ.
fn same(left: &[u8], right: &[u8]) -> bool {
    let pairs = left.iter().zip(right);
    let difference = pairs.fold(0, |seen, (l, r)| hint::black_box(seen | (l ^ r)));
    left.len() == right.len() && difference == 0
}

fn random_hex<const N: usize>() -> Result<String, StartError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| StartError::System(io::Error::other(error.to_string())))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Writes a file that only this user can read, whole or not at all: on a full disk the one that was
/// there stays.
fn write_whole(path: &Path, content: &[u8]) -> Result<(), StartError> {
    let partial = path.with_added_extension("new");
    let write = || -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.open(&partial)?.write_all(content)?;
        fs::rename(&partial, path)
    };
    write().map_err(|source| {
        let _not_made = fs::remove_file(&partial);
        StartError::Write {
            path: path.to_owned(),
            source,
        }
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::adapters::small_disk::SmallDisk;

    fn scratch() -> (tempfile::TempDir, Home) {
        let root = tempfile::tempdir().unwrap();
        let home = Home::under(root.path().to_owned()).unwrap();
        fs::create_dir(home.daemon()).unwrap();
        (root, home)
    }

    #[test]
    fn the_record_is_read_back_and_removed() {
        let (_root, home) = scratch();
        let files = Files::clear(&home);
        let instance = Instance::new(Path::new("/run/quire.sock")).unwrap();
        files.write_record(&instance).unwrap();
        assert_eq!(home.record().unwrap(), instance.record());
        #[cfg(target_os = "linux")]
        assert!(home.record().unwrap().start_time > 0);
        drop(files);
        assert_eq!(fs::read_dir(home.daemon()).unwrap().count(), 0);
    }

    #[test]
    fn a_full_disk_leaves_the_files_as_they_were() {
        let Some(disk) = SmallDisk::new(64) else {
            return;
        };
        let home = Home::under(disk.path().to_owned()).unwrap();
        fs::create_dir(home.daemon()).unwrap();
        let files = Files::clear(&home);
        let instance = Instance::new(Path::new("/run/quire.sock")).unwrap();
        files.write_record(&instance).unwrap();
        disk.fill();
        let other = Instance::new(Path::new("/run/other.sock")).unwrap();
        files.write_record(&other).unwrap_err();
        assert_eq!(home.record().unwrap(), instance.record());
        let names: Vec<_> = fs::read_dir(home.daemon()).unwrap().collect();
        assert_eq!(names.len(), 1, "{names:?}");
        disk.empty();
        let token = files.write_token().unwrap();
        files.keep(&other, &token).unwrap();
        assert_eq!(home.record().unwrap(), other.record());
    }

    #[test]
    fn every_start_has_another_token_that_only_the_user_can_read() {
        let (_root, home) = scratch();
        let files = Files::clear(&home);
        files.write_token().unwrap();
        let first = home.token().unwrap();
        let token = files.write_token().unwrap();
        let second = home.token().unwrap();
        assert_eq!(second.len(), 64);
        assert_ne!(first, second);
        assert_eq!(format!("{token:?}"), "Token(..)");
        let mode = fs::metadata(home.token_file())
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn only_the_whole_token_is_let_through() {
        let token = Token("0123abcd".into());
        let table = [
            (Some("0123abcd"), true),
            (Some("0123abce"), false),
            (Some("0123abc"), false),
            (Some("0123abcd0"), false),
            (Some(""), false),
            (None, false),
        ];
        for (shown, want) in table {
            let mut headers = HeaderMap::new();
            if let Some(shown) = shown {
                headers.insert(TOKEN_KEY, shown.parse().unwrap());
            }
            assert_eq!(token.check(&headers).is_ok(), want, "for {shown:?}");
        }
    }
}
