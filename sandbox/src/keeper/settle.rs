//! How a keeper begins: it reads what to run, leaves the daemon's session, and makes the job's
//! directory.

use std::{
    env, fs,
    io::{self, Read},
    os::unix::{
        fs::{DirBuilderExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use quire_sandbox::{
    record::{self, JOB_FILE, JobRecord, KEEPER_FILE, KeeperRecord, SOCKET_FILE},
    spec::JobSpec,
    wire::{Decoder, Event},
};

use super::{output::Output, reserve::Reserve};
use crate::confine::sys;

/// When a job began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Began {
    pub(super) instant: Instant,
    pub(super) ms: u64,
}

impl Began {
    /// This moment.
    pub(super) fn now() -> Self {
        Self {
            instant: Instant::now(),
            ms: unix_ms(),
        }
    }
}

fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}

/// Reads the specification; the decoder may hold more that came with it.
pub(super) fn receive_spec(mut stream: &UnixStream) -> io::Result<(JobSpec, Decoder)> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut decoder = Decoder::default();
    let mut bytes = [0; 16 << 10];
    loop {
        if let Some(frame) = decoder.next_frame().map_err(invalid)? {
            return Ok((frame.json().map_err(invalid)?, decoder));
        }
        match stream.read(&mut bytes)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => decoder.feed(&bytes[..count]),
        }
    }
}

/// Where a keeper lives, with all it needs there to the end.
pub(super) struct Home {
    pub(super) directory: PathBuf,
    pub(super) listener: UnixListener,
    pub(super) job: JobRecord,
    pub(super) output: Output,
    pub(super) reserve: Reserve,
}

/// Leaves the daemon's session, and makes the job's directory with all that says "this job runs".
pub(super) fn settle(spec: &JobSpec, began: Began) -> Result<Home, Event> {
    let cannot = |what: &str, error: io::Error| Event::Refused(format!("cannot {what}: {error}"));
    // Already the leader of a session when started by hand.
    let _ = rustix::process::setsid();
    sys::ignore_signal(libc::SIGPIPE);
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|error| cannot("own processes", error.into()))?;
    // Made whole beside its place and then renamed: nobody ever sees a job that is started but
    // answers nowhere. The same file system keeps this and the command's doings in order, so that
    // after a power loss a job without a directory has changed nothing there.
    let part = spec
        .directory
        .with_extension(format!("new-{}", std::process::id()));
    let settled = live_in(&part, spec, began).and_then(|home| {
        fs::rename(&part, &spec.directory)?;
        Ok(home)
    });
    settled.map_err(|error| {
        let _ = fs::remove_dir_all(&part);
        match error.kind() {
            io::ErrorKind::DirectoryNotEmpty
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::NotADirectory => Event::AlreadyStarted,
            _ => cannot(&format!("make `{}`", spec.directory.display()), error),
        }
    })
}

fn live_in(directory: &Path, spec: &JobSpec, began: Began) -> io::Result<Home> {
    // Left by a keeper of the same number that was killed in this moment.
    let _ = fs::remove_dir_all(directory);
    fs::DirBuilder::new().mode(0o700).create(directory)?;
    // Whatever umask we were started with.
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    // From within, since the address of a socket has little room. We stay: the name changes, the
    // directory does not.
    env::set_current_dir(directory)?;
    let listener = UnixListener::bind(SOCKET_FILE)?;
    listener.set_nonblocking(true)?;
    let here = PathBuf::from(".");
    let job = JobRecord::of(spec, began.ms);
    record::write_new(&here, JOB_FILE, &job)?;
    let keeper = KeeperRecord::of(std::process::id(), began.ms)?;
    record::write_new(&here, KEEPER_FILE, &keeper)?;
    Ok(Home {
        listener,
        job,
        output: Output::new(here.clone(), spec.limits.output_bytes, began.instant)?,
        reserve: Reserve::take(&here)?,
        directory: here,
    })
}
