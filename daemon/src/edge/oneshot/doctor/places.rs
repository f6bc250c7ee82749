//! Checks of Quire's own directories and of the daemon that may live there.

use std::{
    fs,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use quire_proto::{
    Standing,
    home::{DaemonRecord, Home, SOCKET_PATH_MAX, socket_fits},
    protocol, standing, version,
};
#[cfg(target_os = "linux")]
use quire_sandbox::record;
use rustix::fs::Access;

use super::Check;

/// The state directory can be written and is nobody else's.
pub(super) fn state(home: &Home) -> Check {
    const NAME: &str = "state directory";
    let directory = home.state();
    let shown = directory.display();
    let there = existing(directory);
    let writable = rustix::fs::access(&there, Access::WRITE_OK | Access::EXEC_OK);
    if writable.is_err() || !there.is_dir() {
        let remedy = "make it writable for you, or set `QUIRE_HOME` to a directory of yours";
        return Check::error(
            NAME,
            format!("`{}` can't be written", there.display()),
            remedy,
        );
    }
    if there != directory {
        return Check::ok(NAME, format!("{shown} (will be made)"));
    }
    let Ok(found) = fs::metadata(directory) else {
        return Check::error(
            NAME,
            format!("{shown} can't be looked at"),
            "check its permissions",
        );
    };
    if found.uid() != rustix::process::geteuid().as_raw() {
        let remedy = "set `QUIRE_HOME` to a directory of yours";
        return Check::error(NAME, format!("{shown} belongs to another user"), remedy);
    }
    if found.mode() & 0o077 != 0 {
        let remedy = format!("chmod 700 {shown}");
        return Check::warning(NAME, format!("others may look into {shown}"), remedy);
    }
    Check::ok(NAME, shown.to_string())
}

/// The nearest directory above that is there.
fn existing(directory: &Path) -> PathBuf {
    let there = directory
        .ancestors()
        .find(|above| above.symlink_metadata().is_ok());
    there.unwrap_or(directory).to_path_buf()
}

/// There is room for events and output.
pub(super) fn disk(home: &Home) -> Check {
    const NAME: &str = "disk space";
    const MB: u64 = 1 << 20;
    let Ok(found) = rustix::fs::statvfs(existing(home.state())) else {
        return Check::warning(NAME, "unknown", "look with `df`");
    };
    let free = found.f_bavail.saturating_mul(found.f_frsize) / MB;
    let said = format!("{free} MB free for the state directory");
    let remedy = "make room: turns pause when the disk is full";
    match free {
        0..100 => Check::error(NAME, said, remedy),
        100..1024 => Check::warning(NAME, said, remedy),
        _ => Check::ok(NAME, said),
    }
}

/// A socket's path fits the kernel's limit.
pub(super) fn socket(home: &Home) -> Check {
    const NAME: &str = "socket";
    let paths = home.sockets().into_iter();
    match paths.clone().find(|path| socket_fits(path)) {
        Some(path) => Check::ok(NAME, path.display().to_string()),
        None => {
            let longest = paths
                .map(|path| path.as_os_str().as_bytes().len())
                .min()
                .unwrap_or(0);
            let said =
                format!("its path would have {longest} bytes; {SOCKET_PATH_MAX} is the most");
            Check::error(
                NAME,
                said,
                "set `QUIRE_HOME` to a directory with a shorter path",
            )
        }
    }
}

/// What the last daemon wrote about itself, and whether it lives. It isn't spoken to.
pub(super) fn daemon(home: &Home) -> Check {
    const NAME: &str = "daemon";
    let record = match home.record() {
        Ok(record) => record,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Check::ok(NAME, "none has run here yet; the first command starts one");
        }
        Err(_) => {
            let said = format!("`{}` can't be understood", home.record_file().display());
            return Check::warning(NAME, said, "run `quire daemon restart`");
        }
    };
    if !lives(&record) {
        return Check::ok(NAME, "not running; the next command starts one");
    }
    let said = format!("version {} runs as process {}", record.version, record.pid);
    if standing(record.protocol(), protocol()) != Standing::Overlaps {
        return Check::error(
            NAME,
            format!("{said}, with another protocol"),
            "run `quire daemon restart`",
        );
    }
    if !record.socket.exists() {
        return Check::error(
            NAME,
            format!("{said}, but its socket is gone"),
            "run `quire daemon restart`",
        );
    }
    if record.version != version() {
        let remedy = "run `quire daemon restart` to change over; nothing is lost";
        return Check::warning(NAME, format!("{said}; this is {}", version()), remedy);
    }
    Check::ok(NAME, said)
}

/// Whether the very process of a record lives: its id may be another's by now.
#[cfg(target_os = "linux")]
fn lives(daemon: &DaemonRecord) -> bool {
    record::boot_id().is_ok_and(|id| id == daemon.boot_id)
        && record::start_time(daemon.pid).is_ok_and(|time| time == daemon.start_time)
}

#[cfg(not(target_os = "linux"))]
fn lives(record: &DaemonRecord) -> bool {
    let pid = i32::try_from(record.pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::edge::oneshot::doctor::Level;

    fn home(path: &Path) -> Home {
        Home::under(path.to_path_buf()).unwrap()
    }

    #[test]
    fn the_state_directory_is_looked_at_and_not_made() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path();
        let absent = top.join("a/b");
        assert_eq!(state(&home(&absent)).level, Level::Ok);
        assert!(!top.join("a").exists());
        fs::set_permissions(top, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(state(&home(top)).level, Level::Warning);
        fs::set_permissions(top, fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(state(&home(top)).level, Level::Ok);
        fs::write(top.join("file"), "").unwrap();
        assert_eq!(state(&home(&top.join("file/x"))).level, Level::Error);
    }

    #[test]
    fn a_long_path_has_its_socket_elsewhere() {
        assert_eq!(socket(&home(Path::new("/q"))).level, Level::Ok);
        let long = format!("/{}", "x".repeat(100));
        assert_eq!(socket(&home(Path::new(&long))).level, Level::Ok);
    }

    fn record(home: &Home, change: impl Fn(&mut DaemonRecord)) -> Check {
        let pid = std::process::id();
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let start = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.split(' ').nth(19)?.parse().ok());
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let mut record = DaemonRecord {
            pid,
            start_time: start.unwrap_or(0),
            boot_id: boot.trim().to_owned(),
            instance_id: "i".into(),
            version: version().into(),
            protocol_min: protocol().min,
            protocol_max: protocol().max,
            socket: home.state().to_path_buf(),
        };
        change(&mut record);
        fs::create_dir_all(home.daemon()).unwrap();
        fs::write(home.record_file(), serde_json::to_vec(&record).unwrap()).unwrap();
        daemon(home)
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_daemon_is_known_by_more_than_its_process_id() {
        let directory = tempfile::tempdir().unwrap();
        let home = home(directory.path());
        assert!(daemon(&home).found.starts_with("none has run"));
        assert!(record(&home, |_| ()).found.contains("runs as process"));
        assert!(
            record(&home, |record| record.start_time += 1)
                .found
                .starts_with("not running")
        );
        assert!(
            record(&home, |record| record.boot_id.push('x'))
                .found
                .starts_with("not running")
        );
        assert_eq!(
            record(&home, |record| record.version.push('x')).level,
            Level::Warning
        );
        assert_eq!(
            record(&home, |record| record.socket.push("gone")).level,
            Level::Error
        );
        let newer = |record: &mut DaemonRecord| {
            record.protocol_min = protocol().max + 1;
            record.protocol_max = protocol().max + 1;
        };
        assert_eq!(record(&home, newer).level, Level::Error);
        fs::write(home.record_file(), "{").unwrap();
        assert_eq!(daemon(&home).level, Level::Warning);
    }
}
