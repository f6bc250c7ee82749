//! Running a program to its end, or until its output shows something.

use std::{
    ffi::OsString,
    io::{Read, Write as _},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};

use crate::{processes::alive, wait::PATIENCE};

/// A command about to be run.
pub struct Invocation {
    command: Command,
    stdin: Option<Vec<u8>>,
    limit: Duration,
}

/// What a command that ended left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Exit code; 128 + N when signal N ended it.
    pub code: i32,
    /// All it wrote to standard output; bytes that are no UTF-8 are replaced.
    pub stdout: String,
    /// All it wrote to standard error, likewise.
    pub stderr: String,
    /// From start to end.
    pub wall: Duration,
}

/// A command that runs. Dropping it kills it.
pub struct Running {
    child: Child,
    stdout: Captured,
    stderr: Captured,
    shown: String,
    started: Instant,
    limit: Duration,
}

impl Invocation {
    /// Runs `program` with an empty environment and nothing on its standard input.
    #[must_use]
    pub fn new(program: &Path) -> Self {
        let mut command = Command::new(program);
        command.env_clear();
        Self {
            command,
            stdin: None,
            limit: PATIENCE,
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args.into_iter().map(Into::into));
        self
    }

    /// Runs in this directory.
    #[must_use]
    pub fn dir(mut self, directory: &Path) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, key: &str, value: impl Into<OsString>) -> Self {
        self.command.env(key, value.into());
        self
    }

    /// Takes an environment variable away again.
    #[must_use]
    pub fn without_env(mut self, key: &str) -> Self {
        self.command.env_remove(key);
        self
    }

    /// Runs as this user and group. Only the superuser may.
    #[must_use]
    pub fn user(mut self, id: u32) -> Self {
        use std::os::unix::process::CommandExt as _;
        self.command.uid(id).gid(id);
        self
    }

    /// Gives the command this on its standard input.
    #[must_use]
    pub fn stdin(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(input.into());
        self
    }

    /// Allows more time than [`PATIENCE`].
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs the command to its end.
    ///
    /// # Panics
    ///
    /// When it can't be started, or doesn't end in time; then it is killed first.
    #[must_use]
    pub fn run(self) -> Finished {
        self.spawn().finish()
    }

    /// Starts the command.
    ///
    /// # Panics
    ///
    /// When it can't be started.
    #[must_use]
    pub fn spawn(mut self) -> Running {
        let shown = format!("{:?}", self.command.get_program());
        let shown = self
            .command
            .get_args()
            .fold(shown, |all, arg| format!("{all} {arg:?}"));
        let stdin = if self.stdin.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        };
        self.command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let started = Instant::now();
        let mut child = self
            .command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {shown}: {error}"));
        if let (Some(input), Some(mut pipe)) = (self.stdin, child.stdin.take()) {
            // A command that doesn't read all of its input is no failure of the test.
            thread::spawn(move || drop(pipe.write_all(&input)));
        }
        Running {
            stdout: Captured::reading(child.stdout.take()),
            stderr: Captured::reading(child.stderr.take()),
            child,
            shown,
            started,
            limit: self.limit,
        }
    }
}

impl Running {
    /// Process id.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// What it has written to standard output so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// Bytes it has written so far, to standard output and to standard error.
    #[must_use]
    pub fn written(&self) -> usize {
        self.stdout.bytes().len() + self.stderr.bytes().len()
    }

    /// Waits until standard output contains `text`.
    ///
    /// # Panics
    ///
    /// When it doesn't in time, or the output ends without it.
    pub fn shows(&self, text: &str) {
        let shown = self.stdout.wait(|seen| seen.contains(text));
        assert!(
            shown,
            "{} never wrote `{text}`; stdout: {}; stderr: {}",
            self.shown,
            self.stdout(),
            self.stderr.text()
        );
    }

    /// Waits until standard error contains `text`.
    ///
    /// # Panics
    ///
    /// When it doesn't in time, or ends without it.
    pub fn tells(&self, text: &str) {
        let told = self.stderr.wait(|seen| seen.contains(text));
        let stderr = self.stderr.text();
        assert!(told, "{} never told `{text}`: {stderr}", self.shown);
    }

    /// Waits until standard output holds more than so many bytes.
    ///
    /// # Panics
    ///
    /// When it doesn't in time, or the output ends before.
    pub fn grows(&self, beyond: usize) {
        let grown = self.stdout.wait_bytes(|seen| seen.len() > beyond);
        let stderr = self.stderr.text();
        assert!(grown, "{} wrote nothing more; stderr: {stderr}", self.shown);
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        // It may have ended meanwhile, which the test then sees in its exit code.
        let _ = kill_process(self.pid(), signal);
    }

    /// Whether it has ended; what it left is still to be fetched with [`finish`](Self::finish).
    #[must_use]
    pub fn has_ended(&self) -> bool {
        !alive(self.pid())
    }

    /// Kills it with SIGKILL and waits until it is gone.
    pub fn kill(mut self) {
        self.end();
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// When it doesn't end in time; then it is killed first.
    #[must_use]
    pub fn finish(mut self) -> Finished {
        let left = self.limit.saturating_sub(self.started.elapsed());
        let status = ended(&mut self.child, left);
        let wall = self.started.elapsed();
        let Some(status) = status else {
            self.end();
            panic!(
                "{} did not end within {:?}; stdout: {}; stderr: {}",
                self.shown,
                self.limit,
                self.stdout(),
                self.stderr.text()
            );
        };
        Finished {
            code: code(status),
            stdout: self.stdout.whole(&self.shown),
            stderr: self.stderr.whole(&self.shown),
            wall,
        }
    }

    fn end(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
        if thread::panicking() {
            self.tell();
        }
    }
}

impl Running {
    /// What it complained of often says why the test failed.
    #[expect(
        clippy::print_stderr,
        reason = "the runner shows it with the failed test"
    )]
    fn tell(&self) {
        let complaint = self.stderr.text();
        let newest: Vec<_> = complaint.lines().rev().take(10).collect();
        for line in newest.iter().rev() {
            eprintln!("--- {}: {line}", self.shown);
        }
    }
}

/// Waits for a child's end without looking again and again, so that benches may time it; `None`
/// after `limit`.
pub(crate) fn ended(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let handle = pidfd_open(Pid::from_child(child), PidfdFlags::empty())
        .unwrap_or_else(|error| panic!("a child that nobody waited for is there: {error}"));
    let limit = Timespec::try_from(limit).expect("limits are short");
    let mut handles = [PollFd::new(&handle, PollFlags::IN)];
    // An interrupted poll counts as the limit reached; no test runner is sent signals.
    poll(&mut handles, Some(&limit)).ok()?;
    child.try_wait().ok().flatten()
}

/// Exit code; 128 + N when signal N ended the process.
#[must_use]
pub fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

/// What comes out of a pipe or a terminal, read as it comes.
#[derive(Clone, Default)]
pub struct Captured(Arc<(Mutex<Stream>, Condvar)>);

#[derive(Default)]
struct Stream {
    bytes: Vec<u8>,
    ended: bool,
}

impl Captured {
    /// Reads `source` to its end on a thread of its own.
    pub(crate) fn reading(source: Option<impl Read + Send + 'static>) -> Self {
        let captured = Self::default();
        let Some(mut source) = source else {
            captured.change(|stream| stream.ended = true);
            return captured;
        };
        let writer = captured.clone();
        thread::spawn(move || {
            let mut buffer = [0; 16 * 1024];
            // A terminal whose other side closed reads as an error, a pipe as its end.
            while let Ok(count @ 1..) = source.read(&mut buffer) {
                let piece = buffer.get(..count).unwrap_or_default();
                writer.change(|stream| stream.bytes.extend_from_slice(piece));
            }
            writer.change(|stream| stream.ended = true);
        });
        captured
    }

    /// Everything so far.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.lock().bytes.clone()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    /// Everything, once the writers are gone.
    pub(crate) fn whole(&self, of: &str) -> String {
        let ended = self.wait_stream(|stream| stream.ended);
        // Whoever wrote `$(quire exec ...)` would hang like this.
        assert!(
            ended,
            "{of} ended, but something it started holds its output"
        );
        self.text()
    }

    fn wait(&self, holds: impl Fn(&str) -> bool) -> bool {
        self.wait_stream(|stream| holds(&String::from_utf8_lossy(&stream.bytes)))
    }

    /// Waits until `holds`, the end or the deadline; says whether it holds.
    pub(crate) fn wait_bytes(&self, holds: impl Fn(&[u8]) -> bool) -> bool {
        self.wait_stream(|stream| holds(&stream.bytes))
    }

    fn wait_stream(&self, holds: impl Fn(&Stream) -> bool) -> bool {
        let waiting = |stream: &mut Stream| !holds(stream) && !stream.ended;
        let (stream, _) = self
            .0
            .1
            .wait_timeout_while(self.lock(), PATIENCE, waiting)
            .unwrap_or_else(PoisonError::into_inner);
        holds(&stream)
    }

    fn change(&self, change: impl FnOnce(&mut Stream)) {
        change(&mut self.lock());
        self.0.1.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Stream> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Invocation {
        Invocation::new(Path::new("/bin/sh")).args(["-c", script])
    }

    #[test]
    fn code_and_both_streams_are_kept() {
        let finished = shell("cat; echo out; echo err >&2; exit 3")
            .stdin("in ")
            .run();
        assert_eq!(
            (
                finished.code,
                finished.stdout.as_str(),
                finished.stderr.as_str()
            ),
            (3, "in out\n", "err\n")
        );
    }

    #[test]
    fn death_by_signal_is_told_as_a_shell_tells_it() {
        assert_eq!(shell("kill -9 $$").run().code, 137);
    }

    #[test]
    fn output_is_seen_while_the_command_runs() {
        let running = shell("echo ready; sleep 1000").spawn();
        running.shows("ready");
        running.kill();
    }

    #[test]
    #[should_panic(expected = "did not end within")]
    fn a_command_that_hangs_is_killed_and_reported() {
        let _ = shell("sleep 1000").limit(Duration::from_millis(50)).run();
    }

    #[test]
    fn a_command_is_done_when_its_pipes_are() {
        let finished = shell("(read line; echo late) & exec true")
            .stdin("x\n")
            .run();
        assert_eq!((finished.code, finished.stdout.as_str()), (0, "late\n"));
    }

    #[test]
    #[should_panic(expected = "never wrote")]
    fn output_that_ends_without_the_text_is_reported_at_once() {
        shell("echo other").spawn().shows("ready");
    }
}
