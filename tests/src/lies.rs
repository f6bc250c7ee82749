//! What makes the system lie to a program: about the clock, the disk, the user's
//! home, locks.
//!
//! The sources stand in `shim/`, C because they must take the place of what the C library does. What
//! a client is told, a daemon that it starts is told as well.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{home::Home, process::Invocation};

/// A library that is loaded before all others, and what it is told.
#[derive(Clone, Debug)]
pub struct Lie {
    library: PathBuf,
    variable: &'static str,
    value: OsString,
}

impl Lie {
    /// Makes the user's home `directory`, whatever the password database says. `None` where there is
    /// no C compiler: the test is then skipped.
    #[must_use]
    pub fn account(home: &Home, directory: &Path) -> Option<Self> {
        Self::library(home, "account", "QUIRE_TEST_ACCOUNT", directory)
    }

    /// Shifts the clock by what stands in `file`: eight bytes, seconds, in the machine's order.
    /// `None` as above.
    #[must_use]
    pub fn clock(home: &Home, file: &Path) -> Option<Self> {
        Self::library(home, "clock", "QUIRE_TEST_CLOCK", file)
    }

    /// Lets the disk stop answering while `file` is there. `None` as above.
    #[must_use]
    pub fn disk(home: &Home, file: &Path) -> Option<Self> {
        Self::library(home, "disk", "QUIRE_TEST_DISK", file)
    }

    /// Tells it to a program and all that it starts.
    #[must_use]
    pub fn to(&self, invocation: Invocation) -> Invocation {
        let invocation = invocation.env("LD_PRELOAD", self.library.as_os_str());
        invocation.env(self.variable, self.value.clone())
    }

    fn library(
        home: &Home,
        name: &str,
        variable: &'static str,
        value: impl Into<OsString>,
    ) -> Option<Self> {
        Some(Self {
            library: compiled(home, name, &["-shared", "-fPIC"])?,
            variable,
            value: value.into(),
        })
    }
}

/// A program that runs another for which locks of some kinds fail: its arguments are `flock`, `fcntl`
/// or both with a comma between, and then the other program and its arguments. `None` as above.
#[must_use]
pub fn without_locks(home: &Home) -> Option<PathBuf> {
    compiled(home, "locks", &[])
}

fn compiled(home: &Home, name: &str, flags: &[&str]) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("shim");
    let source = source.join(name).with_extension("c");
    let result = home.root().join(name);
    let mut compiler = Command::new("cc");
    compiler.args(["-O1", "-Wall", "-Werror"]).args(flags);
    compiler.arg("-o").arg(&result).arg(&source).arg("-ldl");
    let built = compiler.output().ok()?;
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{}: {said}", source.display());
    Some(result)
}
