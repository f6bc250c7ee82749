//! The command line as typed. What each command does is told by its own file in
//! [`commands`](crate::commands), whose doc comment is its manual.

use std::{path::PathBuf, time::Duration};

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum, error::ErrorKind};
use quire_proto::v1::{ApprovePolicy, Policy, SandboxMode};

use crate::{
    commands::{
        approve, archive, attach, completions, daemon, delete, demo, deny, diff, env, exec, export,
        files, fork, import, interrupt, job, jobs, later, logs, models, passed_on, ps, queue,
        rename, search, send, top, wait,
    },
    context,
    failure::Failure,
};

/// A terminal coding agent that does not live in your terminal.
///
/// Sessions live in a daemon: close the terminal, attach from another one, the work goes on.
/// Without a command Quire opens a new session here.
#[derive(Debug, Parser)]
#[command(name = "quire", version, args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:
  quire                                   a new session in this directory
  quire 'why does the build fail?'        the same, with a first prompt
  quire exec 'make the tests pass'        one prompt without the terminal UI
  quire attach @last                      go on where you left
  quire demo                              see it work, no model needed

A session is named by its id, any unique prefix of it, its title, or @last.")]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// A first prompt for the new session.
    pub prompt: Option<String>,
    /// How the new session is made.
    #[command(flatten)]
    pub options: SessionOptions,
}

/// The commands. `later` is what later versions bring.
#[derive(Debug, Subcommand)]
#[allow(missing_docs, reason = "each is documented by its arguments")]
pub enum Command {
    Exec(exec::Arguments),
    #[command(visible_alias = "resume")]
    Attach(attach::Arguments),
    Ps(ps::Arguments),
    Top(top::Arguments),
    Send(send::Arguments),
    Queue(queue::Arguments),
    Interrupt(interrupt::Arguments),
    Approve(approve::Arguments),
    Deny(deny::Arguments),
    Wait(wait::Arguments),
    Logs(logs::Arguments),
    Diff(diff::Arguments),
    Search(search::Arguments),
    Env(env::Arguments),
    Fork(fork::Arguments),
    Export(export::Arguments),
    Import(import::Arguments),
    Rename(rename::Arguments),
    Archive(archive::Arguments),
    Delete(delete::Arguments),
    Jobs(jobs::Arguments),
    Job(job::Arguments),
    Files(files::Arguments),
    Models(models::Arguments),
    Daemon(daemon::Arguments),
    Demo(demo::Arguments),
    Completions(completions::Arguments),
    Sandbox(passed_on::Sandbox),
    Patch(passed_on::Patch),
    Config(passed_on::Config),
    Doctor(passed_on::Doctor),
    #[command(hide = true)]
    Undo(later::Arguments),
    #[command(hide = true)]
    Symbols(later::Arguments),
    #[command(hide = true)]
    Map(later::Arguments),
    #[command(hide = true)]
    Acp(later::Arguments),
    #[command(hide = true)]
    McpServer(later::Arguments),
    #[command(hide = true)]
    Proxy(later::Arguments),
    #[command(hide = true)]
    Man(later::Arguments),
}

/// How a session is made.
#[derive(Clone, Debug, Default, Args)]
pub struct SessionOptions {
    /// Model to use, as `provider/model`.
    #[arg(long, short, value_name = "PROVIDER/MODEL")]
    pub model: Option<String>,
    /// Where commands may write.
    #[arg(long, value_name = "MODE")]
    pub sandbox: Option<Sandbox>,
    /// When to ask before a tool runs.
    #[arg(long, value_name = "POLICY")]
    pub approve: Option<Approve>,
    /// Directory to work in.
    #[arg(long, short = 'C', value_name = "DIR")]
    pub cd: Option<PathBuf>,
    /// A further directory that may be written; may be given several times.
    #[arg(long, value_name = "DIR")]
    pub add_dir: Vec<PathBuf>,
}

impl SessionOptions {
    /// The policy asked for; what is not said is unspecified. `None` when nothing is said.
    #[must_use]
    pub fn policy(&self) -> Option<Policy> {
        if self.sandbox.is_none() && self.approve.is_none() {
            return None;
        }
        let sandbox = self.sandbox.map_or(SandboxMode::Unspecified, Into::into);
        let approve = self.approve.map_or(ApprovePolicy::Unspecified, Into::into);
        Some(Policy {
            sandbox: sandbox.into(),
            approve: approve.into(),
            ..Policy::default()
        })
    }
}

/// Where commands may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sandbox {
    /// Nowhere, and no network.
    ReadOnly,
    /// In the workspace.
    WorkspaceWrite,
    /// Everywhere: no confinement.
    FullAccess,
}

impl From<Sandbox> for SandboxMode {
    fn from(sandbox: Sandbox) -> Self {
        match sandbox {
            Sandbox::ReadOnly => Self::ReadOnly,
            Sandbox::WorkspaceWrite => Self::WorkspaceWrite,
            Sandbox::FullAccess => Self::FullAccess,
        }
    }
}

/// When to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Approve {
    /// Before everything that is not known to only read.
    Untrusted,
    /// Before what the sandbox would refuse and what a rule says to ask.
    OnRequest,
    /// Never: what would be asked is denied.
    Never,
}

impl From<Approve> for ApprovePolicy {
    fn from(approve: Approve) -> Self {
        match approve {
            Approve::Untrusted => Self::Untrusted,
            Approve::OnRequest => Self::OnRequest,
            Approve::Never => Self::Never,
        }
    }
}

/// Reads the process's arguments; `None` when help or the version was asked for and printed.
///
/// # Errors
///
/// [`Exit::Usage`](crate::failure::Exit::Usage) with one line about the first mistake.
pub fn parse() -> Result<Option<Arguments>, Failure> {
    match Arguments::try_parse() {
        Ok(arguments) => Ok(Some(arguments)),
        Err(error) => {
            let asked = matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            );
            if !asked {
                return Err(mistake(&error, std::env::args().skip(1)));
            }
            let text = error.render();
            let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            let terminal = std::io::IsTerminal::is_terminal(&std::io::stdout());
            let text = if colour && terminal {
                text.ansi().to_string()
            } else {
                text.to_string()
            };
            context::print(text).map(|()| None)
        }
    }
}

/// A mistake in the `words` after the program's name, as one line.
fn mistake(error: &clap::Error, words: impl Iterator<Item = String>) -> Failure {
    let mut command = command();
    let mut typed = String::from("quire");
    for word in words {
        let Some(inner) = command.find_subcommand(&word).cloned() else {
            break;
        };
        typed = format!("{typed} {}", inner.get_name());
        command = inner;
    }
    let text = error.render().to_string();
    // What comes after a blank line is advice and usage.
    let lines = text.lines().take_while(|line| !line.trim().is_empty());
    let lines = lines.map(str::trim).collect::<Vec<_>>().join(" ");
    let what = match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "a command is missing",
        _ => lines.strip_prefix("error: ").unwrap_or(&lines),
    };
    Failure::usage(format!("{what}; see `{typed} --help`"))
}

/// The whole command line, for completions.
#[must_use]
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Reads a length of time: `90`, `90s`, `5m`, `1h30m`, `250ms`.
///
/// # Errors
///
/// What is wrong with the text.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a length of time such as `90s`, `5m` or `1h30m`");
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number: u64 = rest[..digits].parse().map_err(|_no_number| wrong())?;
        rest = &rest[digits..];
        let letters = rest.len()
            - rest
                .trim_start_matches(|c: char| c.is_ascii_alphabetic())
                .len();
        let unit_ms = match &rest[..letters] {
            "ms" => 1,
            "" | "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            _ => return Err(wrong()),
        };
        rest = &rest[letters..];
        let part = number.checked_mul(unit_ms).ok_or_else(wrong)?;
        total += Duration::from_millis(part);
    }
    if total.is_zero() {
        Err(wrong())
    } else {
        Ok(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn a_mistake_is_one_line() {
        let table = [
            ("exec --nope", "quire exec --help"),
            ("send", "quire send --help"),
            ("exec x --sandbox none", "quire exec --help"),
            ("job", "quire job --help"),
            ("job logs", "quire job logs --help"),
            ("queue", "quire queue --help"),
            ("queue move s 1", "quire queue move --help"),
            ("approve --id 3", "quire approve --help"),
            ("--nope", "quire --help"),
        ];
        for (line, see) in table {
            let words = || line.split_whitespace().map(str::to_owned);
            let parsed = Arguments::try_parse_from(["quire".to_owned()].into_iter().chain(words()));
            let failure = mistake(&parsed.unwrap_err(), words());
            let told = failure.message().unwrap();
            assert!(told.ends_with(&format!("; see `{see}`")), "{told}");
            assert!(
                !told.contains("error:") && told.lines().count() == 1,
                "{told}"
            );
        }
    }

    #[test]
    fn lengths_of_time_are_read() {
        let table = [
            ("90", Some(90_000)),
            ("250ms", Some(250)),
            ("1h30m", Some(5_400_000)),
            ("2m5s", Some(125_000)),
            ("", None),
            ("0s", None),
            ("5x", None),
            ("-1s", None),
            ("99999999999999999999", None),
        ];
        for (text, want) in table {
            let want = want.map(Duration::from_millis);
            assert_eq!(duration(text).ok(), want, "for `{text}`");
        }
    }

    #[test]
    fn every_line_of_the_blueprint_parses() {
        let lines = [
            "",
            "fix-it",
            "exec hello --json --model p/m --sandbox read-only --approve never --cd / --add-dir /tmp",
            "exec - --session s --detach -o last.txt --timeout 5m",
            "exec x --image a.png --output-schema s.json --max-cost 2.5",
            "attach",
            "attach @last --read-only",
            "resume bcd",
            "ps --all --json",
            "top",
            "top --once --json",
            "send s hello --queue",
            "send s hello --start --turn 3",
            "queue s --json",
            "queue edit s 2 text",
            "queue edit s 2 - --json",
            "queue move s bcd --before 1",
            "queue move s 1 --last",
            "queue remove s 1 2",
            "interrupt s",
            "interrupt s --turn 3",
            "approve",
            "approve --json",
            "approve s --id 3 --always session",
            "deny s --stop -m no",
            "wait s t --timeout 10s",
            "logs -f s --json",
            "diff s",
            "env s",
            "env s --refresh --json",
            "undo s",
            "fork s",
            "fork s --at 3 --title t -C /",
            "rename s title",
            "archive s --restore",
            "delete s",
            "export s -o f --no-output",
            "import",
            "import - --json -C /",
            "search two words --all --here --limit 3 --json",
            "search a -- -not --flag",
            "jobs s",
            "job logs j -f",
            "job write j text --close",
            "job kill j",
            "job wait j",
            "files query",
            "symbols query",
            "map --tokens 100",
            "models --json",
            "demo --plain",
            "acp",
            "mcp-server",
            "proxy",
            "daemon status",
            "daemon start",
            "daemon stop --now",
            "daemon restart",
            "daemon logs -f",
            "daemon install",
            "completions bash",
            "man",
        ];
        for line in lines {
            let words = ["quire"].into_iter().chain(line.split_whitespace());
            let parsed = Arguments::try_parse_from(words);
            assert!(parsed.is_ok(), "for `{line}`: {}", parsed.unwrap_err());
        }
    }
}
