//! A Python with grpcio, for clients that share no code with Quire: their scripts are in `foreign/`.
//!
//! The packages come from the directory that `QUIRE_PYTHON_PACKAGES` names, else they are fetched once into
//! the target directory, with pip. Where neither is to be had, tests say that they were skipped.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::{binaries::source_root, home::Home, process::Invocation, skip::skip};

/// An interpreter, and where its packages are.
#[derive(Clone, Debug)]
pub struct Python {
    program: PathBuf,
    packages: PathBuf,
}

impl Python {
    /// The one of this machine; says that the test is skipped when there is none.
    #[must_use]
    pub fn with_grpc() -> Option<&'static Self> {
        static FOUND: OnceLock<Result<Python, String>> = OnceLock::new();
        let found = FOUND.get_or_init(find);
        found.as_ref().inspect_err(|why| skip(why)).ok()
    }

    /// A script of `foreign/`, as a client of this home's daemon.
    #[must_use]
    pub fn script(&self, home: &Home, name: &str) -> Invocation {
        self.file(home, &scripts().join(name))
    }

    /// Any script, likewise.
    #[must_use]
    pub fn file(&self, home: &Home, script: &Path) -> Invocation {
        self.bare(home).args([script])
    }

    /// The interpreter alone.
    #[must_use]
    pub fn bare(&self, home: &Home) -> Invocation {
        home.program(&self.program)
            .env("PYTHONPATH", self.packages.clone())
            .env("PYTHONDONTWRITEBYTECODE", "1")
    }
}

fn scripts() -> PathBuf {
    source_root().join("tests/foreign")
}

fn find() -> Result<Python, String> {
    // What `python3` is may depend on the user's own home, which tests don't show to programs.
    let program = said("python3", &["-c", "import sys; print(sys.executable)"], &[])?;
    let program = PathBuf::from(program.trim());
    let packages = match env::var_os("QUIRE_PYTHON_PACKAGES") {
        Some(given) => PathBuf::from(given),
        None => fetched(&program)?,
    };
    let python = program.display().to_string();
    let place = ("PYTHONPATH", packages.as_path());
    said(&python, &["-c", "import grpc_tools, grpc_status"], &[place])?;
    Ok(Python { program, packages })
}

/// The packages that the scripts ask for, in a directory named by nothing else.
fn fetched(python: &Path) -> Result<PathBuf, String> {
    let wanted = scripts().join("requirements.txt");
    let wanted_text = fs::read_to_string(&wanted).map_err(|error| error.to_string())?;
    let target = env::current_exe().map_err(|error| error.to_string())?;
    // target/PROFILE/deps/this-program
    let target = target.ancestors().nth(3).ok_or("no target directory")?;
    let place = target.join("python-packages");
    // What is there was asked for by this very list, and is whole: it was renamed when it was.
    let mark = place.join("requirements.txt");
    if fs::read_to_string(&mark).is_ok_and(|text| text == wanted_text) {
        return Ok(place);
    }
    let made = tempfile::tempdir_in(target).map_err(|error| error.to_string())?;
    let into = made.path().join("packages");
    let (into_text, list) = (into.display().to_string(), wanted.display().to_string());
    let pip = ["-m", "pip", "install", "--quiet", "--retries", "1"];
    let pip = [&pip[..], &["--target", &into_text, "-r", &list]].concat();
    said(&python.display().to_string(), &pip, &[])?;
    fs::write(into.join("requirements.txt"), &wanted_text).map_err(|error| error.to_string())?;
    // Gone, or another test process was quicker: then its packages serve as well.
    let _ = fs::remove_dir_all(&place);
    let _ = fs::rename(&into, &place);
    Ok(place)
}

/// What a program says to its standard output; an error says why it didn't.
fn said(program: &str, args: &[&str], environment: &[(&str, &Path)]) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(args).envs(environment.iter().copied());
    let output = command
        .output()
        .map_err(|error| format!("cannot run `{program}`: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let last = complaint.lines().last().unwrap_or_default();
    let shown = args.iter().take(3).copied().collect::<Vec<_>>().join(" ");
    Err(format!("`{program} {shown}` fails: {last}"))
}
