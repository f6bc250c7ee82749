//! A real terminal for the TUI: a pseudo-terminal with an emulator behind it.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{File, OpenOptions},
    io::Write as _,
    num::NonZero,
    path::Path,
    process::{Child, Command, Stdio},
};

use rustix::{
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use crate::{
    process::{Captured, code, ended},
    wait::PATIENCE,
};

/// What gives a program a controlling terminal; from util-linux.
const SETSID: &str = "/usr/bin/setsid";

/// Lines of the terminal.
const ROWS: NonZero<u16> = NonZero::new(30).expect("30 is not 0");

/// Characters in a line of it.
const COLUMNS: NonZero<u16> = NonZero::new(100).expect("100 is not 0");

/// A program in a terminal of its own. Dropping it kills the program.
pub struct Terminal {
    child: Child,
    master: File,
    output: Captured,
}

impl Terminal {
    /// Whether this machine can give a program a terminal.
    #[must_use]
    pub fn available() -> bool {
        Path::new(SETSID).is_file()
    }

    /// Starts `program` in a terminal of 100 by 30 characters, in this environment and directory.
    ///
    /// # Panics
    ///
    /// When the machine has no terminal to give.
    #[must_use]
    pub fn start(
        program: &Path,
        args: &[&str],
        environment: &BTreeMap<&str, OsString>,
        directory: &Path,
    ) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal is free");
        grantpt(&master).expect("the terminal is ours");
        unlockpt(&master).expect("the terminal is ours");
        let name = ptsname(&master, Vec::new()).expect("the terminal has a name");
        let name = name.into_string().expect("its name is ASCII");
        // O_NOCTTY is not in std; without it this process might get the terminal, but only if it
        // led a session without one, which no test runner does.
        let slave = OpenOptions::new().read(true).write(true).open(name);
        let slave = slave.expect("the terminal is ours");
        let size = Winsize {
            ws_row: ROWS.get(),
            ws_col: COLUMNS.get(),
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&slave, size).expect("a terminal has a size");
        let twin = || Stdio::from(slave.try_clone().expect("descriptors are left"));
        let child = Command::new(SETSID)
            .arg("--ctty")
            .arg(program)
            .args(args)
            .env_clear()
            .envs(environment)
            .current_dir(directory)
            .stdin(twin())
            .stdout(twin())
            .stderr(twin())
            .spawn()
            .expect("setsid can be started");
        let master = File::from(master);
        let reader = master.try_clone().expect("descriptors are left");
        Self {
            child,
            master,
            output: Captured::reading(Some(reader)),
        }
    }

    /// Types this.
    ///
    /// # Panics
    ///
    /// When the terminal is gone.
    pub fn types(&mut self, keys: &str) {
        self.master
            .write_all(keys.as_bytes())
            .expect("the terminal takes keys");
    }

    /// The screen as a person sees it, and the state of the terminal.
    #[must_use]
    pub fn screen(&self) -> vt100::Screen {
        parse(&self.output.bytes())
    }

    /// Waits until the screen shows `text`.
    ///
    /// # Panics
    ///
    /// When it doesn't in time, with what it shows instead.
    pub fn shows(&self, text: &str) {
        self.until(text, |screen| screen.contents().contains(text));
    }

    /// Waits until the screen is as it should be.
    ///
    /// # Panics
    ///
    /// When it isn't in time, with what it shows instead.
    pub fn until(&self, what: &str, holds: impl Fn(&vt100::Screen) -> bool) {
        let held = self.output.wait_bytes(|bytes| holds(&parse(bytes)));
        assert!(
            held,
            "the screen never showed {what}:\n{}",
            self.screen().contents()
        );
    }

    /// Waits until the program has sent these bytes to the terminal, shown or not.
    ///
    /// # Panics
    ///
    /// When it doesn't in time.
    pub fn is_sent(&self, wanted: &str) {
        let has = |bytes: &[u8]| {
            let wanted = wanted.as_bytes();
            bytes.windows(wanted.len()).any(|seen| seen == wanted)
        };
        let sent = self.output.wait_bytes(has);
        assert!(sent, "never sent {wanted:?}:\n{}", self.screen().contents());
    }

    /// How often the program has drawn its picture.
    #[must_use]
    pub fn drawn(&self) -> usize {
        const BEGIN: &[u8] = b"\x1b[?2026h";
        let bytes = self.output.bytes();
        bytes
            .windows(BEGIN.len())
            .filter(|seen| *seen == BEGIN)
            .count()
    }

    /// Sends a signal to the program.
    pub fn signal(&self, signal: Signal) {
        // It may have ended meanwhile, which the test then sees in its exit code.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// Waits for the program's end, and says its exit code.
    ///
    /// # Panics
    ///
    /// When it doesn't end in time.
    #[must_use]
    pub fn finish(&mut self) -> i32 {
        let Some(status) = ended(&mut self.child, PATIENCE) else {
            let shown = self.screen().contents();
            panic!("the program in the terminal does not end:\n{shown}");
        };
        // What it wrote last may still be on its way.
        self.output.whole("the program in the terminal");
        code(status)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn parse(bytes: &[u8]) -> vt100::Screen {
    let mut parser = vt100::Parser::new(ROWS, COLUMNS, 0);
    parser.process(bytes);
    parser.screen().clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_has_a_terminal_of_its_own() {
        if !Terminal::available() {
            return crate::skip::skip("no setsid from util-linux");
        }
        let script = "test -t 0 && stty size && read word </dev/tty && echo got $word; exit 7";
        let environment = BTreeMap::from([("PATH", "/usr/bin:/bin".into())]);
        let mut terminal = Terminal::start(
            Path::new("/bin/sh"),
            &["-c", script],
            &environment,
            Path::new("/"),
        );
        terminal.shows("30 100");
        terminal.types("hello\n");
        terminal.shows("got hello");
        assert_eq!(terminal.finish(), 7);
    }
}
