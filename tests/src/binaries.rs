//! The three programs under test.
//!
//! Cargo builds no binary of another package for a test, so the harness asks it to, once per test
//! process: same target directory, same profile as the test itself. With everything fresh that is a
//! fraction of a second. Cargo holds its build lock only while it compiles, not while tests run.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Binaries {
    directory: PathBuf,
}

impl Binaries {
    /// The client.
    #[must_use]
    pub fn quire(&self) -> PathBuf {
        self.directory.join("quire")
    }

    /// The daemon.
    #[must_use]
    pub fn quired(&self) -> PathBuf {
        self.directory.join("quired")
    }

    /// Keeper and sandbox.
    #[must_use]
    pub fn sandbox(&self) -> PathBuf {
        self.directory.join("quire-sandbox")
    }

    /// The directory they share.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

/// Builds the programs if they are missing or stale. `QUIRE_TEST_BINARIES=DIR` names a directory of
/// finished ones instead, such as an installed package's.
///
/// # Panics
///
/// When they can't be built.
pub fn binaries() -> &'static Binaries {
    static BINARIES: OnceLock<Binaries> = OnceLock::new();
    BINARIES.get_or_init(|| {
        let given = env::var_os("QUIRE_TEST_BINARIES").map(PathBuf::from);
        let binaries = Binaries {
            directory: given.unwrap_or_else(build),
        };
        for program in [binaries.quire(), binaries.quired(), binaries.sandbox()] {
            assert!(program.is_file(), "there is no `{}`", program.display());
        }
        binaries
    })
}

/// The top of the source tree.
#[must_use]
pub fn source_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate lives in a directory of the workspace")
}

/// The directory of the outside checks, when it is there: `QUIRE_SHARED`, else `shared` beside the
/// source tree.
#[must_use]
pub fn shared_checks() -> Option<PathBuf> {
    let beside = || Some(source_root().parent()?.join("shared"));
    let shared = env::var_os("QUIRE_SHARED")
        .map(PathBuf::from)
        .or_else(beside)?;
    Some(shared.join("check")).filter(|directory| directory.is_dir())
}

fn build() -> PathBuf {
    let own = env::current_exe().expect("the kernel knows this program's path");
    // target/PROFILE/deps/this-program
    let profile_dir = own.parent().and_then(Path::parent);
    let profile_dir = profile_dir.expect("cargo puts tests two levels below its target directory");
    let target = profile_dir
        .parent()
        .expect("a profile's directory has a parent");
    let profile = match profile_dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let output = Command::new(cargo)
        .args(["build", "--quiet", "--workspace", "--bins", "--profile"])
        .arg(profile)
        .arg("--target-dir")
        .arg(target)
        .current_dir(source_root())
        .output()
        .expect("cargo can be started");
    assert!(
        output.status.success(),
        "the programs under test do not build:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    profile_dir.to_path_buf()
}
