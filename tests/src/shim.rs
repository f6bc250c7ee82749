//! Faults of the disk, for the daemon alone: `shim/fault.c`, compiled by the test.
//!
//! The library is loaded into `quired` by the script that stands in for it ([`Wrapped`]). It counts the
//! calls by which the daemon changes its own files and lets the n-th fail, so that a test can go through
//! a whole session fault by fault. System calls that a program makes by itself, as `rustix` does, are not
//! seen: the store, growing text, records and logs go through libc, file edits in the workspace don't.

use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::{binaries::source_root, home::Home, skip::skip, wait, wrapped::Wrapped};

/// The library, compiled. Dropping it removes the file.
pub struct Shim {
    directory: TempDir,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: calls are only counted.
    None,
    /// No space is left, this once.
    NoSpaceOnce,
    /// Half of it is written, then no space is left for anything until [`Armed::heal`].
    NoSpace,
    /// An I/O error, this once.
    Io,
    /// An I/O error of the first sync from here on.
    Sync,
    /// The daemon is killed in place of the call.
    Kill,
    /// The daemon is killed after the call.
    KillAfter,
}

impl Fault {
    /// As `fault.c` knows it.
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::NoSpaceOnce => "enospc-once",
            Self::NoSpace => "enospc",
            Self::Io => "eio-once",
            Self::Sync => "eio-sync",
            Self::Kill => "kill",
            Self::KillAfter => "killafter",
        }
    }

    /// Whether it is a state of the disk, which the next daemon meets too.
    fn lasts(self) -> bool {
        self == Self::NoSpace
    }
}

impl Shim {
    /// Compiles it; `None`, loudly, where that can't be done.
    ///
    /// # Panics
    ///
    /// When there is a compiler, but it doesn't like the file.
    #[must_use]
    pub fn build() -> Option<Self> {
        let directory = TempDir::with_prefix("quire-shim-").expect("`/tmp` is writable");
        let shim = Self { directory };
        let source = source_root().join("tests/shim/fault.c");
        let mut compiler = Command::new("cc");
        compiler.args([
            "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-o",
        ]);
        let Ok(compiled) = compiler
            .arg(shim.library())
            .arg(source)
            .arg("-ldl")
            .output()
        else {
            skip("no C compiler");
            return None;
        };
        let complaint = String::from_utf8_lossy(&compiled.stderr);
        assert!(compiled.status.success(), "fault.c: {complaint}");
        Some(shim)
    }

    /// What to load into the daemon.
    #[must_use]
    pub fn library(&self) -> PathBuf {
        self.directory.path().join("fault.so")
    }

    /// Gives the home's daemons this fault at the `at`th call that changes something in `QUIRE_HOME`:
    /// the first daemon only, unless the fault is one that lasts.
    ///
    /// # Panics
    ///
    /// When the files for it can't be written.
    #[must_use]
    pub fn arm(&self, home: &Home, fault: Fault, at: u64) -> Armed {
        let place = home.root().join("fault");
        fs::create_dir(&place).expect("the test's directory is writable");
        let (counter, heal) = (place.join("counter"), place.join("healed"));
        fs::write(&counter, [0; 16]).expect("it is writable");
        fs::write(place.join("armed"), "").expect("it is writable");
        let variables = [
            ("FAULT_UNDER", home.quire_home().display().to_string()),
            ("FAULT_COUNTER", counter.display().to_string()),
            ("FAULT_HEAL", heal.display().to_string()),
            ("FAULT_AT", at.to_string()),
            ("FAULT", fault.name().to_owned()),
            ("LD_PRELOAD", self.library().display().to_string()),
        ];
        let export = variables.map(|(name, value)| format!("export {name}='{value}'\n"));
        let (armed, export) = (place.join("armed"), export.concat());
        let armed = armed.display();
        let disarm = if fault.lasts() {
            String::new()
        } else {
            format!("rm '{armed}'\n")
        };
        let lines = format!("if [ -e '{armed}' ]; then\n{disarm}{export}fi");
        Armed {
            wrapped: Wrapped::after(home, &lines),
            counter,
            heal,
        }
    }
}

/// A home whose daemons have a fault.
#[derive(Clone, Debug)]
pub struct Armed {
    /// The script that starts them.
    pub wrapped: Wrapped,
    counter: PathBuf,
    heal: PathBuf,
}

impl Armed {
    /// Calls so far that changed something.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.count()[0]
    }

    /// Calls so far that met the fault.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.count()[1]
    }

    /// Waits until the fault was met, or `otherwise` holds.
    pub fn until_met_or(&self, mut otherwise: impl FnMut() -> bool) {
        wait::until("the fault", || self.faults() > 0 || otherwise());
    }

    /// There is space again.
    ///
    /// # Panics
    ///
    /// When the file that says so can't be written.
    pub fn heal(&self) {
        fs::write(&self.heal, "").expect("the test's directory is writable");
    }

    fn count(&self) -> [u64; 2] {
        read(&self.counter).unwrap_or_default()
    }
}

fn read(counter: &Path) -> std::io::Result<[u64; 2]> {
    let (mut calls, mut faults) = ([0; 8], [0; 8]);
    let mut file = File::open(counter)?;
    file.read_exact(&mut calls)?;
    file.read_exact(&mut faults)?;
    Ok([calls, faults].map(u64::from_ne_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a small program with this fault at its first change says.
    fn says(fault: &str, script: &str) -> Option<String> {
        let shim = Shim::build()?;
        let under = shim.directory.path().join("under");
        fs::create_dir(&under).unwrap();
        let output = Command::new("/bin/sh")
            .args(["-c", script])
            .current_dir(&under)
            .env("FAULT_UNDER", &under)
            .env("FAULT_HEAL", shim.directory.path().join("heal"))
            .env("U", &under)
            .env("FAULT_AT", "1")
            .env("FAULT", fault)
            .env("LD_PRELOAD", shim.library())
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        Some(String::from_utf8_lossy(&text).into_owned())
    }

    #[test]
    fn each_fault_is_what_it_says() {
        let make = "(: > \"$U/one\") 2>&1; (echo word > \"$U/two\") 2>&1; cat \"$U/two\"";
        let table = [
            ("enospc-once", "No space left"),
            ("eio-once", "rror"),
            ("none", "word"),
        ];
        for (fault, want) in table {
            let Some(said) = says(fault, make) else {
                return;
            };
            assert!(said.contains(want), "{fault}: {said}");
        }
        let healed =
            "(: > \"$U/one\"); : > \"$FAULT_HEAL\"; echo word > \"$U/two\"; cat \"$U/two\"";
        let said = says("enospc", healed).unwrap_or_default();
        assert!(
            said.contains("No space left") && said.contains("word"),
            "{said}"
        );
        for fault in ["kill", "killafter"] {
            let killed = says(fault, "(: > \"$U/one\"); ls \"$U\"").unwrap_or_default();
            assert_eq!(killed.contains("one"), fault == "killafter", "{killed}");
        }
    }
}
