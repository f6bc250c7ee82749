//! What a keeper writes about its job, about itself, and about how its command ended.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    report::Report,
    spec::{JobSpec, Label},
};

/// Name of the [`JobRecord`] in a job's directory.
pub const JOB_FILE: &str = "job.json";
/// Name of the [`KeeperRecord`] in a job's directory.
pub const KEEPER_FILE: &str = "keeper.json";
/// Name of the [`ExitRecord`] in a job's directory.
pub const EXIT_FILE: &str = "exit.json";
/// Name of the keeper's socket in a job's directory.
pub const SOCKET_FILE: &str = "sock";

/// Names one process for ever: a pid alone is used again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeeperRecord {
    /// Process id of the keeper.
    pub pid: u32,
    /// Its start time in clock ticks since boot.
    pub start_time: u64,
    /// The kernel's id of the boot that start time counts from.
    pub boot_id: String,
    /// When the job started, in milliseconds since the Unix epoch.
    pub started_ms: u64,
}

impl KeeperRecord {
    /// Describes the process `pid`, which must be alive.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such process.
    pub fn of(pid: u32, started_ms: u64) -> io::Result<Self> {
        Ok(Self {
            pid,
            start_time: start_time(pid)?,
            boot_id: boot_id()?,
            started_ms,
        })
    }

    /// Whether that very process still lives.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let same_boot = boot_id().is_ok_and(|id| id == self.boot_id);
        same_boot && start_time(self.pid).is_ok_and(|time| time == self.start_time)
    }
}

/// What a job is. Written by its keeper before the job starts, so that its directory explains itself
/// to a daemon that has no log of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Whose it is, and what people are shown. The lifetime may change while it runs.
    #[serde(flatten)]
    pub label: Label,
    /// Where the command runs.
    pub cwd: PathBuf,
    /// Whether it has a terminal.
    pub pty: bool,
    /// When it started, in milliseconds since the Unix epoch.
    pub started_ms: u64,
}

impl JobRecord {
    /// Of a job that is about to start.
    #[must_use]
    pub fn of(spec: &JobSpec, started_ms: u64) -> Self {
        Self {
            label: spec.label.clone(),
            cwd: spec.cwd.clone(),
            pty: spec.pty.is_some(),
            started_ms,
        }
    }
}

/// How a command ended. Written whole, once, by its keeper.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// Its exit code, when it exited.
    pub code: Option<i32>,
    /// The signal that ended it, when one did.
    pub signal: Option<i32>,
    /// Why it never ran, or why its end is not known; then it has neither code nor signal, or
    /// those of a shell (126, 127).
    pub error: Option<String>,
    /// True when nothing of it ever ran.
    pub never_ran: bool,
    /// Its time was up.
    pub timed_out: bool,
    /// Someone asked the keeper to stop it.
    pub stopped: bool,
    /// When it started, in milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// From start to end, in milliseconds.
    pub wall_ms: u64,
    /// Bytes of output written in all.
    pub output_bytes: u64,
    /// How many of those are no longer kept.
    pub dropped_bytes: u64,
    /// What confined it.
    pub report: Report,
}

impl ExitRecord {
    /// The exit status as a shell tells it: 128 + N for signal N. `None` when the command did not
    /// run or its end is not known.
    #[must_use]
    pub fn status(&self) -> Option<i32> {
        self.code.or(self.signal.map(|signal| 128 + signal))
    }
}

/// Writes `value` to `directory/name` so that a reader sees all of it or nothing.
///
/// The file is not yet on disk when this returns, see [`persist`].
///
/// # Errors
///
/// Any error of writing; then no file of that name was made or changed.
pub fn write<T: Serialize>(directory: &Path, name: &str, value: &T) -> io::Result<()> {
    let part = directory.join(format!("{name}.part"));
    let mut file = File::create(&part)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    fs::rename(part, directory.join(name))
}

/// Writes `value` to `directory/name`, where nobody looks yet.
///
/// # Errors
///
/// Any error of writing; then the file is missing, empty or cut off.
pub fn write_new<T: Serialize>(directory: &Path, name: &str, value: &T) -> io::Result<()> {
    File::create_new(directory.join(name))?.write_all(&serde_json::to_vec(value)?)
}

/// Waits until the file and its name are on disk.
///
/// # Errors
///
/// Any error of the disk.
pub fn persist(directory: &Path, name: &str) -> io::Result<()> {
    File::open(directory.join(name))?.sync_data()?;
    File::open(directory)?.sync_all()
}

/// Reads what [`write()`] wrote.
///
/// # Errors
///
/// `NotFound` when there is none; `InvalidData` when it can't be understood.
pub fn read<T: DeserializeOwned>(directory: &Path, name: &str) -> io::Result<T> {
    let text = fs::read(directory.join(name))?;
    serde_json::from_slice(&text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Start time of a process, in clock ticks since boot.
///
/// # Errors
///
/// `NotFound` when there is no such process; `Unsupported` where the system has no `/proc`.
#[cfg(target_os = "linux")]
pub fn start_time(pid: u32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in parentheses, may hold anything: count from its end.
    let fields: Vec<&str> = stat
        .rsplit_once(") ")
        .map_or(Vec::new(), |(_, rest)| rest.split(' ').collect());
    match (
        fields.first(),
        fields.get(19).and_then(|text| text.parse().ok()),
    ) {
        // Dead, and only waiting for its parent to take note.
        (Some(&"Z" | &"X"), _) => Err(io::ErrorKind::NotFound.into()),
        (_, Some(ticks)) => Ok(ticks),
        (_, None) => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// The kernel's id of this boot.
///
/// # Errors
///
/// `Unsupported` where the system has no `/proc`.
#[cfg(target_os = "linux")]
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}

/// Start time of a process.
///
/// # Errors
///
/// Always `Unsupported`: keepers run on Linux only, for now.
#[cfg(not(target_os = "linux"))]
pub fn start_time(_pid: u32) -> io::Result<u64> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The kernel's id of this boot.
///
/// # Errors
///
/// Always `Unsupported`: keepers run on Linux only, for now.
#[cfg(not(target_os = "linux"))]
pub fn boot_id() -> io::Result<String> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_reused_pid_is_not_the_same_process() {
        let living = KeeperRecord::of(std::process::id(), 1).unwrap();
        assert!(living.is_alive());
        let earlier = KeeperRecord {
            start_time: living.start_time - 1,
            ..living.clone()
        };
        let other_boot = KeeperRecord {
            boot_id: "x".into(),
            ..living
        };
        assert!(!earlier.is_alive() && !other_boot.is_alive());
    }

    #[test]
    fn records_come_back_whole() {
        let directory = tempfile::tempdir().unwrap();
        let record = ExitRecord {
            signal: Some(9),
            wall_ms: 5,
            ..ExitRecord::default()
        };
        write(directory.path(), EXIT_FILE, &record).unwrap();
        persist(directory.path(), EXIT_FILE).unwrap();
        assert_eq!(
            read::<ExitRecord>(directory.path(), EXIT_FILE).unwrap(),
            record
        );
        assert_eq!(record.status(), Some(137));
        let missing = read::<ExitRecord>(directory.path(), "other").unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
