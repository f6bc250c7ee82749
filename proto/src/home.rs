//! Where one user's Quire keeps its files, and how a client finds the daemon there.
//!
//! Only paths are computed and small records read here; directories are made and checked by the
//! daemon. The state directory comes from the password database, not from `$HOME`: cron, ssh and a
//! desktop session see different environments and must still meet the same daemon.

use std::{
    env, fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::v1::ProtocolRange;

/// Longest path a Unix socket can have on every system Quire runs on, in bytes.
pub const SOCKET_PATH_MAX: usize = 103;

/// Name of the daemon's socket in its directory.
pub const SOCKET_NAME: &str = "quire.sock";

/// Whether a socket can have this path.
#[must_use]
pub fn socket_fits(path: &Path) -> bool {
    path.as_os_str().len() <= SOCKET_PATH_MAX
}

/// The same for the same bytes, in every version and on every machine (FNV-1a).
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// What stands in a state directory: by any of these one is known.
const OURS: [&str; 6] = [
    "quire.db",
    "config.toml",
    "AGENTS.md",
    "daemon",
    "jobs",
    "log",
];

/// Whether `path` is open to others and holds things, but nothing of Quire's.
fn is_foreign(path: &Path) -> bool {
    let Ok(metadata) = fs::metadata(path) else {
        return false;
    };
    let open = metadata.permissions().mode() & 0o077 != 0;
    let ours = OURS
        .iter()
        .any(|name| path.join(name).symlink_metadata().is_ok());
    let holds = fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
    open && holds && !ours
}

/// The directories of one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    state: PathBuf,
    config: PathBuf,
    cache: PathBuf,
    /// True when `QUIRE_HOME` put everything under one directory.
    private: bool,
}

/// Why no home was found.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// The password database has no entry, and nothing else names a home.
    #[error("no home directory for this user: set `QUIRE_HOME` to a directory of yours")]
    NoHome,
    /// `QUIRE_HOME` is set to something unusable.
    #[error("`QUIRE_HOME` must be an absolute path, not `{}`", .0.display())]
    Relative(PathBuf),
    /// No socket fits anywhere.
    #[error(
        "the socket's path `{}` is longer than {SOCKET_PATH_MAX} bytes: set `QUIRE_HOME` to a shorter one",
        .0.display()
    )]
    LongSocketPath(PathBuf),
    /// The directory is open to others and full of other things, such as a home.
    #[error(
        "`{}` is open to others and holds other things: set `QUIRE_HOME` to an empty directory, or to one of mode 700",
        .0.display()
    )]
    NotOurs(PathBuf),
}

impl Home {
    /// Finds the directories for the user who runs this process.
    ///
    /// # Errors
    ///
    /// When `QUIRE_HOME` is relative, or there is neither it nor an entry in the password database.
    pub fn find() -> Result<Self, HomeError> {
        if let Some(home) = env::var_os("QUIRE_HOME").filter(|home| !home.is_empty()) {
            return Self::under(PathBuf::from(home));
        }
        let user = nix::unistd::User::from_uid(nix::unistd::Uid::effective())
            .ok()
            .flatten();
        let home = user.map(|user| user.dir).filter(|dir| dir.is_absolute());
        let project = directories::ProjectDirs::from("", "", "quire");
        let state = match (&home, &project) {
            (Some(home), _) if cfg!(target_os = "macos") => {
                home.join("Library/Application Support/quire")
            }
            (Some(home), _) => home.join(".local/state/quire"),
            (None, Some(project)) => project.data_local_dir().to_path_buf(),
            (None, None) => return Err(HomeError::NoHome),
        };
        let (config, cache) = match (project, home) {
            (Some(project), _) => (
                project.config_dir().to_path_buf(),
                project.cache_dir().to_path_buf(),
            ),
            (None, Some(home)) => (home.join(".config/quire"), home.join(".cache/quire")),
            (None, None) => return Err(HomeError::NoHome),
        };
        Ok(Self {
            state,
            config,
            cache,
            private: false,
        })
    }

    /// Puts everything under one directory, as `QUIRE_HOME` does.
    ///
    /// # Errors
    ///
    /// [`HomeError::Relative`].
    pub fn under(directory: PathBuf) -> Result<Self, HomeError> {
        if !directory.is_absolute() {
            return Err(HomeError::Relative(directory));
        }
        Ok(Self {
            config: directory.clone(),
            cache: directory.join("cache"),
            state: directory,
            private: true,
        })
    }

    /// What `QUIRE_HOME` must be for another process to find this same home; `None` when it finds
    /// it without.
    #[must_use]
    pub fn variable(&self) -> Option<&Path> {
        self.private.then_some(&*self.state)
    }

    /// What must outlive everything: database, jobs, the daemon's identity, logs.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// What can be made again.
    #[must_use]
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    /// The user's configuration file.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.config.join("config.toml")
    }

    /// The event store.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.state.join("quire.db")
    }

    /// One directory per job.
    #[must_use]
    pub fn jobs(&self) -> PathBuf {
        self.state.join("jobs")
    }

    /// Text of growing items, one file per session.
    #[must_use]
    pub fn growing(&self) -> PathBuf {
        self.state.join("growing")
    }

    /// Worlds of sessions' clients, one file per session.
    #[must_use]
    pub fn worlds(&self) -> PathBuf {
        self.state.join("worlds")
    }

    /// The daemon's logs.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.state.join("log")
    }

    /// Lock, record, token and, failing a better place, socket of the daemon.
    #[must_use]
    pub fn daemon(&self) -> PathBuf {
        self.state.join("daemon")
    }

    /// Locked by the living daemon.
    #[must_use]
    pub fn lock_file(&self) -> PathBuf {
        self.daemon().join("lock")
    }

    /// Locked by a client that starts a daemon.
    #[must_use]
    pub fn start_lock_file(&self) -> PathBuf {
        self.daemon().join("start.lock")
    }

    /// Holds the [`DaemonRecord`].
    #[must_use]
    pub fn record_file(&self) -> PathBuf {
        self.daemon().join("daemon.json")
    }

    /// Holds the token that clients show.
    #[must_use]
    pub fn token_file(&self) -> PathBuf {
        self.daemon().join("token")
    }

    /// Directories where the socket may live, best first. The last one always has room for it.
    #[must_use]
    pub fn socket_dirs(&self) -> Vec<PathBuf> {
        let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let runtime = runtime.filter(|dir| dir.is_absolute() && !self.private);
        runtime
            .map(|dir| dir.join("quire"))
            .into_iter()
            .chain([self.daemon()])
            .chain(self.short_socket_dir())
            .collect()
    }

    /// Where the socket lives when the state directory lies too deep for one. The name is this user's
    /// and this home's; whoever uses it must see that the directory is, too.
    #[must_use]
    pub fn short_socket_dir(&self) -> Option<PathBuf> {
        let deep = !socket_fits(&self.daemon().join(SOCKET_NAME));
        let user = nix::unistd::Uid::effective();
        let home = fingerprint(self.state.as_os_str().as_encoded_bytes());
        deep.then(|| PathBuf::from(format!("/tmp/quire-{user}-{home:016x}")))
    }

    /// Where the socket may be, best first.
    #[must_use]
    pub fn sockets(&self) -> Vec<PathBuf> {
        self.socket_dirs()
            .into_iter()
            .map(|dir| dir.join(SOCKET_NAME))
            .collect()
    }

    /// Refuses a home that will not do, before anything is made there.
    ///
    /// # Errors
    ///
    /// [`HomeError::NotOurs`] for a directory whose closing would break what lives there.
    pub fn check(&self) -> Result<(), HomeError> {
        if is_foreign(&self.state) {
            return Err(HomeError::NotOurs(self.state.clone()));
        }
        Ok(())
    }

    /// Reads what the last daemon wrote about itself. It may be dead: connect to find out.
    ///
    /// # Errors
    ///
    /// `NotFound` when no daemon ever ran here; `InvalidData` when the record cannot be understood.
    pub fn record(&self) -> io::Result<DaemonRecord> {
        let text = fs::read(self.record_file())?;
        serde_json::from_slice(&text)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Reads the token that clients send as metadata [`TOKEN_KEY`](crate::TOKEN_KEY).
    ///
    /// # Errors
    ///
    /// Any error of reading the file.
    pub fn token(&self) -> io::Result<String> {
        Ok(fs::read_to_string(self.token_file())?.trim().to_owned())
    }
}

/// What a daemon writes about itself, whole, when it is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonRecord {
    /// Process id.
    pub pid: u32,
    /// Start time of that process in clock ticks since boot; tells a reused pid.
    pub start_time: u64,
    /// The kernel's id of the boot that start time counts from.
    pub boot_id: String,
    /// Changes at every start of a daemon.
    pub instance_id: String,
    /// Version of the daemon.
    pub version: String,
    /// Oldest protocol version spoken.
    pub protocol_min: u32,
    /// Newest protocol version spoken.
    pub protocol_max: u32,
    /// Absolute path of the socket.
    pub socket: PathBuf,
}

impl DaemonRecord {
    /// Protocol versions it speaks.
    #[must_use]
    pub fn protocol(&self) -> ProtocolRange {
        ProtocolRange {
            min: self.protocol_min,
            max: self.protocol_max,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_directory_holds_everything() {
        let home = Home::under("/q".into()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(home.config_file(), Path::new("/q/config.toml"));
        for path in [
            home.database(),
            home.jobs(),
            home.record_file(),
            home.cache().into(),
        ] {
            assert!(path.starts_with("/q"), "for {}", path.display());
        }
        assert_eq!(home.socket_dirs(), [Path::new("/q/daemon")]);
    }

    #[test]
    fn a_home_too_deep_for_a_socket_has_a_short_place_of_its_own_for_it() {
        let deep = |last: &str| {
            let path = Path::new("/").join("d".repeat(SOCKET_PATH_MAX)).join(last);
            let home = Home::under(path).unwrap_or_else(|error| panic!("{error}"));
            home.sockets().pop().expect("there is always a place")
        };
        assert!(socket_fits(&deep("one")), "{}", deep("one").display());
        assert_eq!(deep("one"), deep("one"));
        assert_ne!(deep("one"), deep("two"));
        let home = Home::under("/q".into()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(home.short_socket_dir(), None);
    }

    #[test]
    fn a_directory_of_other_things_is_not_closed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_owned();
        let home = Home::under(path.clone()).unwrap();
        let set_mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        set_mode(0o755);
        assert!(home.check().is_ok(), "an empty one may be taken");
        fs::write(path.join("photo.jpg"), "").unwrap();
        assert!(matches!(home.check(), Err(HomeError::NotOurs(_))));
        set_mode(0o700);
        assert!(home.check().is_ok(), "nobody loses anything");
        set_mode(0o755);
        fs::write(home.config_file(), "").unwrap();
        assert!(home.check().is_ok(), "it is Quire's");
    }

    #[test]
    fn a_relative_home_is_refused() {
        assert!(matches!(
            Home::under("q".into()),
            Err(HomeError::Relative(_))
        ));
    }
}
