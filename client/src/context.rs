//! What every command is given: where the daemon lives, and what its own ends are connected to.

use std::{
    env,
    io::{self, IsTerminal as _},
};

use quire_proto::home::Home;

use crate::{
    connect::{Host, Introduction, no_daemon},
    failure::{Exit, Failure},
    link::Link,
    output::{End, Printed},
};

/// The surroundings of one command.
#[derive(Clone, Debug)]
pub struct Context {
    /// Where the daemon lives.
    pub host: Host,
    /// What standard input, output and error are.
    pub ends: Ends,
}

/// Which ends of this process are terminals, and whether to colour.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ends {
    /// Standard input is a terminal.
    pub stdin: bool,
    /// Standard output is a terminal.
    pub stdout: bool,
    /// Standard error is a terminal.
    pub stderr: bool,
    /// `NO_COLOR` is not set.
    pub colour: bool,
}

impl Context {
    /// Looks at the environment, once.
    ///
    /// # Errors
    ///
    /// When the user has no home directory.
    pub fn find() -> Result<Self, Failure> {
        let home = Home::find().map_err(|error| no_daemon(error.to_string()))?;
        let host = Host { home, daemon: None };
        Ok(Self {
            host,
            ends: Ends::find(),
        })
    }

    /// Connects, and starts a daemon when none answers.
    ///
    /// # Errors
    ///
    /// Those of [`Link::open`].
    pub async fn connect(&self, name: &'static str) -> Result<Link, Failure> {
        Link::open(&self.host, self.who(name)).await
    }

    /// A client that may be waited for.
    #[must_use]
    pub fn who(&self, name: &'static str) -> Introduction {
        let observer = false;
        Introduction { name, observer }
    }

    /// A client that only watches.
    #[must_use]
    pub fn watcher(&self, name: &'static str) -> Introduction {
        let observer = true;
        Introduction { name, observer }
    }
}

impl Ends {
    fn find() -> Self {
        Self {
            stdin: io::stdin().is_terminal(),
            stdout: io::stdout().is_terminal(),
            stderr: io::stderr().is_terminal(),
            colour: env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        }
    }

    /// True when a person sits there who can read a question and answer it.
    #[must_use]
    pub fn interactive(self) -> bool {
        self.stdin && (self.stdout || self.stderr)
    }
}

/// Writes to standard output, at once.
///
/// # Errors
///
/// When nobody reads it any more: a silent failure, as the reader left on purpose.
pub fn print(text: impl AsRef<[u8]>) -> Result<(), Failure> {
    write(io::stdout().lock(), text.as_ref(), "standard output")
}

/// Writes progress to standard error, at once.
///
/// # Errors
///
/// As [`print()`].
pub fn progress(text: impl AsRef<[u8]>) -> Result<(), Failure> {
    write(io::stderr().lock(), text.as_ref(), "standard error")
}

/// Writes all that was printed, in order.
///
/// # Errors
///
/// As [`print()`].
pub fn write_out(printed: &Printed) -> Result<(), Failure> {
    for (end, text) in printed.pieces() {
        match end {
            End::Out => print(text)?,
            End::Err => progress(text)?,
        }
    }
    Ok(())
}

fn write(mut end: impl io::Write, text: &[u8], name: &str) -> Result<(), Failure> {
    if text.is_empty() {
        return Ok(());
    }
    let written = end.write_all(text).and_then(|()| end.flush());
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::silent(Exit::Failed),
        _ => Failure::new(Exit::Failed, format!("cannot write to {name}: {error}")),
    })
}
