//! Starts a daemon: one, however many clients want one at once.
//!
//! Whoever holds the start lock may start a daemon, and holds it until that one is ready. The
//! daemon says over a pipe that it is ready, or in one sentence why it never will be.

use std::{
    env, fs,
    fs::{DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process::Stdio,
};

use quire_proto::home::Home;
use rustix::fs::{FlockOperation, flock};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    sync::oneshot,
    time::timeout,
};

use crate::{
    connect::{Host, PATIENCE, no_daemon},
    failure::Failure,
    patience::MOST,
};

/// Finds a program of ours: named by `variable`, else next to this executable.
///
/// # Errors
///
/// [`Exit::NoDaemon`](crate::failure::Exit::NoDaemon) when it is not there.
pub fn program(name: &str, variable: &str) -> Result<PathBuf, Failure> {
    if let Some(path) = env::var_os(variable).filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        return fs::canonicalize(&path).map_err(|error| {
            let path = path.display();
            no_daemon(format!(
                "`{variable}` names `{path}`, which cannot be used: {error}"
            ))
        });
    }
    let own = env::current_exe().map_err(|error| no_daemon(format!("where is this: {error}")))?;
    let path = own.with_file_name(name);
    if path.is_file() {
        return Ok(path);
    }
    Err(no_daemon(format!(
        "`{}` is missing: put `{name}` next to `quire`, or name it by `{variable}`",
        path.display()
    )))
}

/// The right to start a daemon, until dropped.
#[derive(Debug)]
pub struct StartLock {
    _file: File,
}

impl StartLock {
    /// Waits for the lock, at most [`PATIENCE`]; makes the directories it lives in.
    ///
    /// # Errors
    ///
    /// When the state directory cannot be used, or another client holds the lock for too long.
    pub async fn take(home: &Home) -> Result<Self, Failure> {
        home.check()
            .map_err(|error| no_daemon(format!("the daemon cannot start: {error}")))?;
        let path = home.start_lock_file();
        let open = || {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(false).mode(0o600);
            options.open(&path)
        };
        let file = privately(|| make_directories(home).map(|()| open()))?;
        let file = file.map_err(|error| unusable(&path, &error))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return Ok(Self { _file: file });
        }
        let file = wait_for(file, &path).await?;
        Ok(Self { _file: file })
    }
}

/// Waits until nobody else holds a lock on `file`, then holds it.
async fn wait_for(file: File, path: &Path) -> Result<File, Failure> {
    let (done, locked) = oneshot::channel();
    // A thread of its own: the runtime would wait for one of its pool before it ends.
    std::thread::spawn(move || {
        let locked = retry_interrupted(|| flock(&file, FlockOperation::LockExclusive));
        // Nobody listens any more when the wait was given up; the lock then goes with the file.
        let _given_up = done.send(locked.map(|()| file));
    });
    match timeout(PATIENCE, locked).await {
        Ok(Ok(Ok(file))) => Ok(file),
        Ok(Ok(Err(error))) => Err(unusable(path, &error.into())),
        Ok(Err(_)) | Err(_) => Err(no_daemon(format!(
            "another client has been starting the daemon for too long: who holds `{}`?",
            path.display()
        ))),
    }
}

fn retry_interrupted(mut call: impl FnMut() -> rustix::io::Result<()>) -> rustix::io::Result<()> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            other => return other,
        }
    }
}

/// Waits until the daemon of `home` has let go of its lock, which is when its process has ended.
///
/// The caller holds the start lock, so that no daemon finds its lock taken by this wait.
///
/// # Errors
///
/// When that takes longer than [`PATIENCE`].
pub async fn wait_for_end(home: &Home, _start: &StartLock) -> Result<(), Failure> {
    let path = home.lock_file();
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|error| unusable(&path, &error))?,
    };
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
        return Ok(());
    }
    let ended = wait_for(file, &path).await;
    let slow = |_| no_daemon("the daemon takes too long to end: try `quire daemon stop --now`");
    ended.map(drop).map_err(slow)
}

/// Whether a living daemon holds the lock of `home`, be it reachable or not.
///
/// The caller holds the start lock, so that no daemon finds its lock taken by this look.
///
/// # Errors
///
/// When the lock cannot be looked at.
pub fn is_held(home: &Home, _start: &StartLock) -> Result<bool, Failure> {
    let path = home.lock_file();
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other.map_err(|error| unusable(&path, &error))?,
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(false),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(unusable(&path, &error.into())),
    }
}

/// Runs `make` so that the user can use what it makes, and nobody else, whatever the umask: one that
/// takes rights from the user, too, would leave a directory that nothing can be made in.
///
/// The umask is that of the whole process meanwhile, so nothing else may be made at the same time.
pub fn privately<T>(make: impl FnOnce() -> T) -> T {
    let umask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let made = make();
    rustix::process::umask(umask);
    made
}

fn make_directories(home: &Home) -> Result<(), Failure> {
    for directory in [home.state().to_path_buf(), home.daemon()] {
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory);
        made.map_err(|error| unusable(&directory, &error))?;
        check_owner(&directory)?;
    }
    Ok(())
}

/// Refuses a directory that belongs to another user: our token must not be read from there.
///
/// # Errors
///
/// [`Exit::NoDaemon`](crate::failure::Exit::NoDaemon); also when the directory cannot be looked at.
pub fn check_owner(directory: &Path) -> Result<(), Failure> {
    let me = rustix::process::geteuid().as_raw();
    // Of a link both ends count: whoever planted it chose which directory of ours is behind it.
    for found in [fs::symlink_metadata(directory), fs::metadata(directory)] {
        let owner = found.map_err(|error| unusable(directory, &error))?.uid();
        if owner != me {
            return Err(no_daemon(format!(
                "`{}` belongs to user {owner}, not to you ({me}): set `QUIRE_HOME` to a directory of yours",
                directory.display()
            )));
        }
    }
    Ok(())
}

fn unusable(path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    no_daemon(format!(
        "cannot use `{path}`: {error}; make it writable, or set `QUIRE_HOME` to a directory of yours"
    ))
}

/// How the sentence of a daemon begins that found the lock taken.
const HELD: &str = "already running";

/// Why a daemon that was started is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotStarted {
    /// It ended without a word, as when someone kills it: the next may live.
    Ended(Failure),
    /// Another one has the lock, or had it when this one looked.
    Held(Failure),
    /// It said why it cannot live, or there is no such program: the next would say the same.
    Refused(Failure),
}

/// Starts the daemon of `host` and waits until it is ready, at most [`PATIENCE`].
///
/// The caller holds the start lock.
///
/// # Errors
///
/// The daemon's own sentence when it cannot live.
pub async fn daemon(host: &Host) -> Result<(), NotStarted> {
    let program = program_of(host).map_err(NotStarted::Refused)?;
    let mut child = spawn(&program, host).map_err(NotStarted::Refused)?;
    let stdout = child.stdout.take().expect("its stdout was just piped");
    let mut line = String::new();
    let mut said = BufReader::new(stdout);
    match timeout(PATIENCE, said.read_line(&mut line)).await {
        Ok(Ok(_)) => answer(line.trim(), &program),
        Ok(Err(error)) => Err(NotStarted::Ended(no_daemon(format!(
            "cannot hear the daemon: {error}"
        )))),
        Err(_elapsed) => Err(NotStarted::Refused(no_daemon(format!(
            "the daemon was not ready within {} seconds: see `{}`",
            PATIENCE.as_secs(),
            host.home.logs().display()
        )))),
    }
}

fn program_of(host: &Host) -> Result<PathBuf, Failure> {
    match &host.daemon {
        Some(program) => Ok(program.clone()),
        None => program("quired", "QUIRE_DAEMON"),
    }
}

fn spawn(program: &Path, host: &Host) -> Result<Child, Failure> {
    let mut command = Command::new(program);
    command
        .arg("serve")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if let Some(variable) = host.home.variable() {
        command.env("QUIRE_HOME", variable);
    }
    command
        .spawn()
        .map_err(|error| no_daemon(format!("cannot start `{}`: {error}", program.display())))
}

fn answer(line: &str, program: &Path) -> Result<(), NotStarted> {
    match line {
        "ready" => Ok(()),
        "" => Err(NotStarted::Ended(no_daemon(format!(
            "the daemon ended before it was ready, {MOST} times in a row: run `{} serve --foreground` to see why",
            program.display()
        )))),
        other => {
            let sentence = other.strip_prefix("error: ").unwrap_or(other);
            let failure = no_daemon(format!("the daemon cannot start: {sentence}"));
            Err(match sentence.starts_with(HELD) {
                true => NotStarted::Held(failure),
                false => NotStarted::Refused(failure),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_was_taken_is_told_from_a_reason_that_stays() {
        let program = Path::new("quired");
        assert_eq!(answer("ready", program), Ok(()));
        let held = answer("error: already running (pid 7)", program);
        assert!(matches!(held, Err(NotStarted::Held(_))), "{held:?}");
        let refused = answer("error: the disk is full", program);
        assert!(
            matches!(refused, Err(NotStarted::Refused(_))),
            "{refused:?}"
        );
        let ended = answer("", program);
        assert!(matches!(ended, Err(NotStarted::Ended(_))), "{ended:?}");
    }

    #[tokio::test]
    async fn a_daemon_is_told_by_its_lock() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::under(directory.path().join("home")).unwrap();
        let start = StartLock::take(&home).await.unwrap();
        assert!(!is_held(&home, &start).unwrap());
        let lock = File::create(home.lock_file()).unwrap();
        assert!(!is_held(&home, &start).unwrap());
        flock(&lock, FlockOperation::LockExclusive).unwrap();
        assert!(is_held(&home, &start).unwrap());
    }
}
