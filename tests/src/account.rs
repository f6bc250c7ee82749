//! A user as far as Quire can see: for what depends on the user's home, and not on `QUIRE_HOME`.

use std::path::PathBuf;

use rustix::process::{Signal, kill_process};

use crate::{
    binaries::binaries,
    home::Home,
    lies::Lie,
    process::Invocation,
    processes::{self, alive},
    wait,
};

/// A user whose home, by the password database, is a directory of the test. Dropping it ends its
/// daemon.
pub struct Account {
    home: Home,
    database: Lie,
}

impl Account {
    /// Makes one; `None` where there is no C compiler to change the password database with.
    #[must_use]
    pub fn new() -> Option<Self> {
        let home = Home::new();
        let database = Lie::account(&home, &home.user())?;
        Some(Self { home, database })
    }

    /// Where everything of this user lies.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// `quire` with these arguments, as after a plain login: `HOME` is what the password database
    /// says, and there is neither `QUIRE_HOME` nor `XDG_RUNTIME_DIR`.
    #[must_use]
    pub fn quire<const N: usize>(&self, args: [&str; N]) -> Invocation {
        let invocation = self.home.program(&binaries().quire()).args(args);
        self.database.to(invocation.without_env("QUIRE_HOME"))
    }

    /// The state directory.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.home.user().join(".local/state/quire")
    }

    /// The paths below the state directory.
    ///
    /// # Panics
    ///
    /// Never: the path is absolute.
    #[must_use]
    pub fn paths(&self) -> quire_proto::home::Home {
        quire_proto::home::Home::under(self.state()).expect("the path is absolute")
    }

    /// Process id of the living daemon.
    #[must_use]
    pub fn daemon(&self) -> Option<u32> {
        let record = self.paths().record().ok()?;
        processes::is(record.pid, record.start_time)?;
        Some(record.pid)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let Ok(record) = self.paths().record() else {
            return;
        };
        if let Some(pid) = processes::is(record.pid, record.start_time) {
            let _ = kill_process(pid, Signal::TERM);
            wait::within(wait::PATIENCE, || (!alive(pid)).then_some(()));
        }
    }
}
