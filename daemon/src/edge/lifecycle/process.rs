//! What the daemon does to its own process: no terminal, no core dumps with keys in them, and a word to
//! the client that waits for it.

use std::{
    fs::File,
    io::{self, Write as _},
};

use rustix::process::{Resource, Rlimit};

use super::Mode;

/// Files are the user's alone, whatever the umask was; memory is nobody else's to read.
pub(super) fn harden() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let _best_effort = rustix::process::setrlimit(Resource::Core, none);
    #[cfg(target_os = "linux")]
    let _best_effort =
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

/// Leaves the terminal and the directory it was started from.
pub(super) fn detach(mode: Mode) -> io::Result<()> {
    if mode == Mode::Background {
        // Refused when it leads a session already, which is as good.
        let _leads_already = rustix::process::setsid();
        rustix::process::chdir("/")?;
    }
    Ok(())
}

/// Tells whoever started the daemon, on stdout, how that went: `ready`, or `error: ` and a sentence.
#[derive(Debug)]
pub(super) struct Readiness(Mode);

impl Readiness {
    pub(super) fn new(mode: Mode) -> Self {
        Self(mode)
    }

    /// Clients can connect. In the background, lets go of the three standard streams.
    pub(super) fn ready(&self) {
        self.say("ready");
        if self.0 == Mode::Background
            && let Ok(null) = File::options().read(true).write(true).open("/dev/null")
        {
            let _best_effort = rustix::stdio::dup2_stdin(&null);
            let _best_effort = rustix::stdio::dup2_stdout(&null);
            let _best_effort = rustix::stdio::dup2_stderr(&null);
        }
    }

    /// The daemon did not start.
    pub(super) fn failed(&self, sentence: &str) {
        self.say(&format!("error: {sentence}"));
    }

    fn say(&self, line: &str) {
        // One write, so that the client reads the whole line or none; it may be gone, too.
        let line = format!("{line}\n");
        let _nobody_waits = io::stdout().lock().write_all(line.as_bytes());
        let _nobody_waits = io::stdout().flush();
    }
}
