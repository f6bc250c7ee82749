//! The `run` form: one command under a profile, with our own standard streams and no daemon. And
//! the `probe` form, which does so with a program that does nothing, to tell which layers hold.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, Write},
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use quire_sandbox::{
    environment,
    report::Report,
    spec::{JobSpec, Label, Limits, Mode, Profile, Stdin},
};
use rustix::event::{PollFd, PollFlags, poll};

use crate::{
    args::{self, Arguments, Instead},
    complain,
    confine::{
        sys,
        tree::{End, Finish, Launch, NotStarted, Streams, Tree},
    },
};

/// Signals that go to the command: asked of us, meant for it.
const PASSED_ON: &[i32] = &[
    libc::SIGINT,
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGWINCH,
];

/// Runs the form with the arguments after its name. The exit code is the program's.
pub(crate) fn run(arguments: impl Iterator<Item = String>) -> i32 {
    let arguments = match args::parse(arguments) {
        Ok(arguments) => arguments,
        Err(Instead::Help) => {
            let _ = io::stdout().write_all(args::USAGE.as_bytes());
            return 0;
        }
        Err(Instead::Wrong(message)) => {
            complain(&message);
            let _ = io::stderr().write_all(args::USAGE.as_bytes());
            return 2;
        }
    };
    let explain = arguments.explain;
    let spec = match specify(arguments) {
        Ok(spec) => spec,
        Err(message) => {
            complain(&message);
            return 2;
        }
    };
    match start(&spec, explain).and_then(follow) {
        Ok(code) => code,
        Err(error) => {
            complain(&error.message);
            error.failure.code()
        }
    }
}

fn specify(arguments: Arguments) -> Result<JobSpec, String> {
    let cwd = env::current_dir()
        .map_err(|error| format!("cannot tell the current directory: {error}"))?;
    let from_here = |path: PathBuf| cwd.join(path);
    let all: BTreeMap<String, String> = env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let mut environment = environment::scrub(&all, arguments.mode);
    // A person's own terminal is still theirs.
    environment.extend(
        all.get("TERM")
            .map(|term| ("TERM".to_owned(), term.clone())),
    );
    Ok(JobSpec {
        directory: PathBuf::new(),
        label: Label::default(),
        argv: arguments.command,
        environment,
        umask: umask(),
        pty: None,
        stdin: Stdin::Null,
        profile: Profile {
            mode: arguments.mode,
            workspace: arguments.workspace.map_or_else(|| cwd.clone(), from_here),
            writable: arguments.writable.into_iter().map(from_here).collect(),
            hidden: arguments.hidden.into_iter().map(from_here).collect(),
            network: arguments.network,
            require: arguments.require,
            scratch: None,
        },
        limits: Limits::default(),
        cwd: cwd.clone(),
    })
}

fn umask() -> u32 {
    let mask = rustix::process::umask(rustix::fs::Mode::empty());
    rustix::process::umask(mask);
    mask.as_raw_mode()
}

fn start(spec: &JobSpec, explain: bool) -> Result<Tree, NotStarted> {
    let started = Launch::new(spec, Streams::Inherit).and_then(Tree::start);
    if explain {
        let report = started
            .as_ref()
            .map_or_else(|error| &error.report, |tree| &tree.report);
        let _ = io::stderr().write_all(told(spec, report).as_bytes());
    }
    started
}

/// The profile and its layers for people. The command may already run when this is shown.
fn told(spec: &JobSpec, report: &Report) -> String {
    let profile = &spec.profile;
    let paths = |paths: &[PathBuf]| {
        paths
            .iter()
            .map(|path| path.display().to_string())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let mut text = format!("mode: {}\n", profile.mode);
    if profile.mode != Mode::FullAccess {
        let writable = [profile.workspace.clone()]
            .into_iter()
            .chain(profile.writable.clone())
            .collect::<Vec<_>>();
        let writable = if profile.mode == Mode::WorkspaceWrite {
            paths(&writable)
        } else {
            "private scratch only".to_owned()
        };
        let network = if profile.network.is_empty() {
            "none".to_owned()
        } else {
            profile.network.join(", ")
        };
        text.push_str(&format!("writable: {writable}\nnetwork: {network}\n"));
        if !profile.hidden.is_empty() {
            text.push_str(&format!(
                "hidden besides the built-in: {}\n",
                paths(&profile.hidden)
            ));
        }
    }
    let held = if report.held.is_empty() {
        "none".to_owned()
    } else {
        report.held.join(", ")
    };
    text.push_str(&format!("layers: {held}\n"));
    for missing in &report.missing {
        text.push_str(&format!("missing: {missing}\n"));
    }
    text
}

/// Passes signals on until the command has ended.
fn follow(mut tree: Tree) -> Result<i32, NotStarted> {
    let system = |error: io::Error| {
        NotStarted::new(
            crate::confine::tree::Failure::System,
            format!("cannot wait for the command: {error}"),
        )
    };
    let signals = sys::signals_as_descriptor(PASSED_ON).map_err(system)?;
    loop {
        let mut descriptors = [
            PollFd::from_borrowed_fd(tree.descriptor(), PollFlags::IN),
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
        ];
        if poll(&mut descriptors, None).is_err() {
            continue;
        }
        let (ended, signalled) = (
            !descriptors[0].revents().is_empty(),
            !descriptors[1].revents().is_empty(),
        );
        if ended {
            return match tree.end() {
                Finish::Ended(End::Code(code)) => Ok(code),
                Finish::Ended(End::Signal(signal)) => Ok(128 + signal),
                Finish::NotStarted(failure) => Err(failure),
                Finish::Lost => Ok(137),
            };
        }
        if signalled {
            for signal in sys::read_signals(&signals) {
                tree.signal(signal);
            }
        }
    }
}

/// Prints as JSON which layers hold here. Exits with 0 even when none does.
pub(crate) fn probe() -> i32 {
    let report = match probe_in(&env::temp_dir()) {
        Ok(report) => report,
        Err(message) => {
            complain(&message);
            return 1;
        }
    };
    let text = serde_json::to_string(&report).expect("a report has only JSON's own shapes");
    i32::from(writeln!(io::stdout(), "{text}").is_err())
}

fn probe_in(temporary: &Path) -> Result<Report, String> {
    let workspace = temporary.join(format!("quire-sandbox-probe-{}", std::process::id()));
    rustix::fs::mkdir(&workspace, rustix::fs::Mode::RWXU)
        .map_err(|error| format!("cannot make `{}`: {error}", workspace.display()))?;
    let arguments = Arguments {
        mode: Mode::WorkspaceWrite,
        workspace: Some(workspace.clone()),
        writable: vec![],
        hidden: vec![],
        network: vec![],
        require: vec![],
        explain: false,
        command: vec!["true".to_owned()],
    };
    let spec = specify(arguments).map(|spec| JobSpec {
        cwd: "/".into(),
        ..spec
    });
    let report = spec.and_then(|spec| {
        let tree = start(&spec, false).map_err(|error| error.message)?;
        let report = tree.report.clone();
        follow(tree).map(|_| report).map_err(|error| error.message)
    });
    let _ = fs::remove_dir_all(&workspace);
    report
}
