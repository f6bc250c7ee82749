//! Ends a daemon that no longer answers.
//!
//! A process id alone means nothing: it may have been given to someone else since. Only the very
//! process that wrote the record is ended, told by its start time and the kernel's boot.

use std::{fs, io};

use quire_proto::home::DaemonRecord;

/// Kills the process that wrote `record`; false when it is gone already.
///
/// # Errors
///
/// When the system refuses, or offers no way to be sure which process it is.
pub fn end(record: &DaemonRecord) -> io::Result<bool> {
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    if boot_id.trim() != record.boot_id {
        return Ok(false);
    }
    kill(record)
}

#[cfg(target_os = "linux")]
fn kill(record: &DaemonRecord) -> io::Result<bool> {
    use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

    let pid = i32::try_from(record.pid).ok().and_then(Pid::from_raw);
    let Some(pid) = pid else {
        return Ok(false);
    };
    // Held before the look, so that the process looked at is the one that is ended.
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(rustix::io::Errno::SRCH) => return Ok(false),
        other => other?,
    };
    if start_time(record.pid)? != Some(record.start_time) {
        return Ok(false);
    }
    pidfd_send_signal(&process, Signal::KILL)?;
    Ok(true)
}

#[cfg(not(target_os = "linux"))]
fn kill(_record: &DaemonRecord) -> io::Result<bool> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Clock ticks between boot and the start of the process; `None` when it is gone.
#[cfg(target_os = "linux")]
fn start_time(pid: u32) -> io::Result<Option<u64>> {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => Ok(parse_start_time(&stat)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The program's name, in parentheses, may hold anything; the fields after it are numbers.
#[cfg(target_os = "linux")]
fn parse_start_time(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    // Field 22, counted from 1; the name is the second.
    fields.split(' ').nth(19)?.parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{
        os::unix::process::ExitStatusExt as _,
        process::{Child, Command, Stdio},
    };

    use super::*;

    fn sleeper() -> Child {
        // Ends by itself when its input is closed, should the test fail.
        let mut cat = Command::new("cat");
        cat.stdin(Stdio::piped()).spawn().unwrap()
    }

    fn record(child: &Child) -> DaemonRecord {
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        DaemonRecord {
            pid: child.id(),
            start_time: start_time(child.id()).unwrap().unwrap(),
            boot_id: boot_id.trim().into(),
            instance_id: String::new(),
            version: String::new(),
            protocol_min: 1,
            protocol_max: 1,
            socket: "/".into(),
        }
    }

    #[test]
    fn only_the_process_that_wrote_the_record_is_ended() {
        let mut child = sleeper();
        let true_record = record(&child);
        let others = [
            DaemonRecord {
                start_time: true_record.start_time + 1,
                ..true_record.clone()
            },
            DaemonRecord {
                boot_id: "another".into(),
                ..true_record.clone()
            },
        ];
        for other in others {
            assert!(!end(&other).unwrap());
        }
        assert!(child.try_wait().unwrap().is_none());
        assert!(end(&true_record).unwrap());
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        assert!(!end(&true_record).unwrap());
    }

    #[test]
    fn a_strange_name_does_not_shift_the_fields() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 4242 99";
        assert_eq!(parse_start_time(stat), Some(4242));
    }
}
