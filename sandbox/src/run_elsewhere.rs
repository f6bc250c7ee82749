//! The `run` form where the system has Seatbelt: hands over to `sandbox-exec` with a profile text.
//!
//! Written from Apple's documentation and from what other programs do; not yet run on a Mac.

use std::{
    collections::BTreeMap,
    env,
    io::{self, Write},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::Command,
};

use quire_sandbox::{
    environment,
    report::{Missing, Report},
    seatbelt,
    spec::{Layer, Mode, Profile},
};

use crate::{
    args::{self, Instead},
    complain,
};

/// Runs the form with the arguments after its name; returns only if that fails.
pub(crate) fn run(arguments: impl Iterator<Item = String>) -> i32 {
    let arguments = match args::parse(arguments) {
        Ok(arguments) => arguments,
        Err(Instead::Help) => {
            let _ = io::stdout().write_all(args::USAGE.as_bytes());
            return 0;
        }
        Err(Instead::Wrong(message)) => {
            complain(&message);
            return 2;
        }
    };
    if !arguments.require.is_empty() {
        complain("the layers that can be required exist on Linux only");
        return 7;
    }
    let Ok(cwd) = env::current_dir() else {
        complain("cannot tell the current directory");
        return 2;
    };
    let all: BTreeMap<String, String> = env::vars().collect();
    let profile = Profile {
        mode: arguments.mode,
        workspace: arguments
            .workspace
            .map_or_else(|| cwd.clone(), |path| cwd.join(path)),
        writable: arguments
            .writable
            .into_iter()
            .map(|path| cwd.join(path))
            .collect(),
        hidden: arguments
            .hidden
            .into_iter()
            .map(|path| cwd.join(path))
            .collect(),
        network: arguments.network,
        require: vec![],
        scratch: None,
    };
    let home = env::var_os("HOME").map(PathBuf::from);
    let mut command = match arguments.mode {
        Mode::FullAccess => Command::new(&arguments.command[0]),
        Mode::ReadOnly | Mode::WorkspaceWrite => {
            let mut command = Command::new("/usr/bin/sandbox-exec");
            command
                .arg("-p")
                .arg(seatbelt::profile(&profile, home.as_deref()))
                .arg(&arguments.command[0]);
            command
        }
    };
    command
        .args(&arguments.command[1..])
        .env_clear()
        .envs(environment::scrub(&all, arguments.mode));
    let error = command.exec();
    complain(&format!("cannot run `{}`: {error}", arguments.command[0]));
    if error.kind() == io::ErrorKind::NotFound {
        127
    } else {
        126
    }
}

/// Prints as JSON that no Linux layer holds here.
pub(crate) fn probe() -> i32 {
    let missing = Layer::ALL.map(|layer| Missing {
        layer,
        whole: true,
        meaning: "exists on Linux only".to_owned(),
        remedy: "`sandbox-exec` confines files and network instead".to_owned(),
    });
    let report = Report {
        held: Vec::new(),
        missing: missing.into(),
    };
    let text = serde_json::to_string(&report).expect("a report has only JSON's own shapes");
    i32::from(writeln!(io::stdout(), "{text}").is_err())
}
