//! A private home for one test: a `QUIRE_HOME`, a `$HOME` and a place for work, under one random
//! directory in which everything started on its behalf ends with it.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use quire_proto::home::DaemonRecord;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    binaries::binaries,
    model::{MockModel, Wire},
    process::Invocation,
    processes::{self, Process, alive},
    terminal::Terminal,
    wait,
};

/// Environment variable in which tests keep the mock model's key.
pub const KEY_VARIABLE: &str = "MOCK_API_KEY";

/// A private home. Dropping it stops its daemon, then whatever else still carries its path.
pub struct Home {
    directory: TempDir,
}

impl Home {
    /// Makes one, without any configuration.
    ///
    /// # Panics
    ///
    /// When the directory can't be made.
    #[must_use]
    pub fn new() -> Self {
        // Short, because the socket's path below it has to fit 103 bytes.
        let directory = tempfile::Builder::new()
            .prefix("quire-")
            .tempdir_in("/tmp")
            .expect("`/tmp` is writable");
        let home = Self { directory };
        for part in [home.user(), home.work(), home.temporary()] {
            fs::create_dir(&part).expect("the new directory is writable");
        }
        home
    }

    /// Makes one that is configured to ask `model` in the given wire format.
    #[must_use]
    pub fn asking(model: &MockModel, wire: Wire) -> Self {
        let home = Self::new();
        home.configure(&provider(&model.base_url(), wire));
        home
    }

    /// Writes the configuration file anew.
    ///
    /// # Panics
    ///
    /// When it can't be written.
    pub fn configure(&self, toml: &str) {
        fs::create_dir_all(self.quire_home()).expect("the home is writable");
        fs::write(self.quire_home().join("config.toml"), toml).expect("the home is writable");
    }

    /// What carries the random name: everything of this test lies below it.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    /// `QUIRE_HOME`: configuration, state and socket.
    #[must_use]
    pub fn quire_home(&self) -> PathBuf {
        self.root().join("q")
    }

    /// `HOME`.
    #[must_use]
    pub fn user(&self) -> PathBuf {
        self.root().join("user")
    }

    /// Where repositories are made, and where commands run if not told otherwise.
    #[must_use]
    pub fn work(&self) -> PathBuf {
        self.root().join("work")
    }

    /// `TMPDIR`.
    #[must_use]
    pub fn temporary(&self) -> PathBuf {
        self.root().join("tmp")
    }

    /// The paths of this home, as client and daemon compute them.
    ///
    /// # Panics
    ///
    /// Never: the path is absolute.
    #[must_use]
    pub fn paths(&self) -> quire_proto::home::Home {
        quire_proto::home::Home::under(self.quire_home()).expect("the path is absolute")
    }

    /// `quire` with these arguments, in a clean environment.
    #[must_use]
    pub fn quire<const N: usize>(&self, args: [&str; N]) -> Invocation {
        self.program(&binaries().quire()).args(args)
    }

    /// Any program, in the environment that [`Self::quire`] gets.
    #[must_use]
    pub fn program(&self, program: &Path) -> Invocation {
        let invocation = Invocation::new(program).dir(&self.work());
        let environment = self.environment().into_iter();
        environment.fold(invocation, |invocation, (key, value)| {
            invocation.env(key, value)
        })
    }

    /// `quire` with these arguments in a terminal of 100 by 30 characters.
    #[must_use]
    pub fn terminal<const N: usize>(&self, args: [&str; N]) -> Terminal {
        let mut environment = self.environment();
        environment.insert("TERM", "xterm-256color".into());
        Terminal::start(&binaries().quire(), &args, &environment, &self.work())
    }

    /// The whole environment that programs of this home get: no keys but the mock model's, nothing
    /// of the user who runs the tests but where programs are.
    #[must_use]
    pub fn environment(&self) -> BTreeMap<&'static str, OsString> {
        BTreeMap::from([
            // The tools that tests and fixtures need may be anywhere.
            (
                "PATH",
                env::var_os("PATH").unwrap_or("/usr/bin:/bin".into()),
            ),
            ("HOME", self.user().into()),
            ("TMPDIR", self.temporary().into()),
            ("QUIRE_HOME", self.quire_home().into()),
            ("LANG", "C.UTF-8".into()),
            ("TERM", "dumb".into()),
            ("SHELL", "/bin/sh".into()),
            (KEY_VARIABLE, MockModel::KEY.into()),
            ("GIT_CONFIG_GLOBAL", "/dev/null".into()),
            ("GIT_CONFIG_NOSYSTEM", "1".into()),
        ])
    }

    /// What the last daemon wrote about itself, if there was one.
    #[must_use]
    pub fn record(&self) -> Option<DaemonRecord> {
        self.paths().record().ok()
    }

    /// The living daemon.
    #[must_use]
    pub fn daemon(&self) -> Option<Pid> {
        let record = self.record()?;
        processes::is(record.pid, record.start_time)
    }

    /// Every process that runs the daemon's program for this home, be it the daemon or not.
    #[must_use]
    pub fn daemons(&self) -> Vec<Process> {
        let quired = binaries().quired().display().to_string();
        let mut all = self.processes();
        all.retain(|one| one.command.starts_with(&quired));
        all
    }

    /// Kills the daemon as a crash would, and waits until it is gone.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub fn kill_daemon(&self) {
        let pid = self.daemon().expect("a daemon runs");
        kill_process(pid, Signal::KILL).expect("the daemon is ours to kill");
        wait::until("the killed daemon to be gone", || !alive(pid));
    }

    /// Every living process that carries this home's path in its program, arguments, directory or
    /// environment: clients, daemon, keepers, and commands, which have it in `HOME` at least. Daemon
    /// and keepers hide from other processes of an ordinary user; they are known by what they wrote
    /// about themselves.
    #[must_use]
    pub fn processes(&self) -> Vec<Process> {
        let keepers = fs::read_dir(self.paths().jobs()).into_iter().flatten();
        let keepers = keepers.flatten().filter_map(|job| {
            let record = fs::read(job.path().join("keeper.json")).ok()?;
            let record: Value = serde_json::from_slice(&record).ok()?;
            let pid = u32::try_from(record["pid"].as_u64()?).ok()?;
            processes::is(pid, record["start_time"].as_u64()?)
        });
        let known: Vec<_> = keepers.chain(self.daemon()).collect();
        processes::carrying(self.root(), &known)
    }

    fn stop(&self) {
        if let Some(pid) = self.daemon() {
            let _ = kill_process(pid, Signal::TERM);
            // A daemon that drains longer than this is killed below with everything else.
            wait::within(std::time::Duration::from_secs(5), || {
                (!alive(pid)).then_some(())
            });
        }
        // Again and again: a process may be starting another at this moment.
        wait::within(wait::PATIENCE, || {
            let left = self.processes();
            for process in &left {
                let _ = kill_process(process.pid, Signal::KILL);
            }
            left.is_empty().then_some(())
        });
    }
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_log();
        }
        self.stop();
    }
}

impl Home {
    /// The daemon's log often says why a test failed; the directory is about to go.
    #[expect(
        clippy::print_stderr,
        reason = "the runner shows it with the failed test"
    )]
    fn show_log(&self) {
        let logs = fs::read_dir(self.paths().logs()).into_iter().flatten();
        for log in logs.flatten() {
            let text = fs::read_to_string(log.path()).unwrap_or_default();
            let lines: Vec<_> = text.lines().rev().take(60).collect();
            let newest: String = lines
                .iter()
                .rev()
                .fold(String::new(), |all, line| all + "    " + line + "\n");
            eprintln!("--- {}\n{newest}", log.path().display());
        }
    }
}

/// Configuration that names one provider at `base_url`.
#[must_use]
pub fn provider(base_url: &str, wire: Wire) -> String {
    let wire = wire.name();
    format!(
        "model = \"mock/scripted\"\n\n[providers.mock]\nwire = \"{wire}\"\n\
         base_url = \"{base_url}\"\napi_key_env = \"{KEY_VARIABLE}\"\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_finds_and_ends_what_carries_its_path() {
        let home = Home::new();
        let sleeper = home
            .program(Path::new("/bin/sh"))
            .args(["-c", "sleep 1000 & echo $!; wait"])
            .spawn();
        sleeper.shows("\n");
        let grandchild: i32 = sleeper.stdout().trim().parse().expect("a pid");
        let grandchild = Pid::from_raw(grandchild).expect("a pid is not 0");
        let found: Vec<_> = home.processes().into_iter().map(|one| one.pid).collect();
        assert!(found.contains(&sleeper.pid()) && found.contains(&grandchild));
        drop(home);
        assert!(!alive(grandchild));
    }

    #[test]
    fn another_home_is_left_alone() {
        let home = Home::new();
        let other = Home::new();
        let sleeper = other
            .program(Path::new("/bin/sh"))
            .args(["-c", "echo up; sleep 1000"])
            .spawn();
        sleeper.shows("up");
        drop(home);
        assert!(alive(sleeper.pid()));
    }
}
