//! `quired doctor [--json]`: looks at everything Quire relies on, and says what to do.
//!
//! Each check only looks. Nothing is made, mended or sent; a model server on this machine may be
//! asked for its list, and a configured `api_key_command` is run.

mod history;
mod machine;
mod models;
mod places;

use std::{ffi::OsString, process::ExitCode};

use serde::Serialize;

use super::world::{Answer, Failure, World, asks_for_manual, say, words};

const USAGE: &str = "usage: quire doctor [--json]";

const MANUAL: &str = "\
usage: quire doctor [--json]

Looks at everything that Quire needs here and says what to do about what is missing.
Ends with 1 if something will not work.";

/// Runs the command with the arguments after `doctor`.
///
/// Prints a line for each check, with what to do below it; with `--json` an object for each. Ends
/// with 0, also after warnings; 1 if something will not work; 2 on wrong use.
#[must_use]
pub fn doctor(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = words(arguments);
    if asks_for_manual(&arguments) {
        return say(Ok(Answer::manual(MANUAL)));
    }
    let json = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--json"] => true,
        _ => return say(Err(Failure::usage(USAGE))),
    };
    say(World::here().map(|world| report(&examine(&world), json)))
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warning,
    Error,
}

/// One thing looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Check {
    name: &'static str,
    level: Level,
    /// What was found, in a line.
    found: String,
    /// What to do; nothing when all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self {
            name,
            level: Level::Ok,
            found: found.into(),
            remedy: None,
        }
    }

    fn warning(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            name,
            level: Level::Warning,
            found: found.into(),
            remedy: Some(remedy.into()),
        }
    }

    fn error(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            level: Level::Error,
            ..Self::warning(name, found, remedy)
        }
    }
}

fn examine(world: &World) -> Vec<Check> {
    let mut checks = vec![
        places::state(&world.home),
        places::disk(&world.home),
        places::socket(&world.home),
        places::daemon(&world.home),
        machine::sqlite(),
        history::history(&world.home),
    ];
    checks.extend(machine::sandbox(&world.environment));
    checks.extend([
        machine::landlock(),
        machine::user_namespaces(),
        machine::cgroups(),
        machine::inotify(),
        machine::program("git", &world.environment),
        machine::program("bash", &world.environment),
        machine::terminal(&world.environment),
    ]);
    checks.extend(models::checks(world));
    checks
}

fn report(checks: &[Check], json: bool) -> Answer {
    let bad = checks.iter().any(|check| check.level == Level::Error);
    Answer {
        out: if json { lines(checks) } else { table(checks) },
        err: String::new(),
        code: u8::from(bad),
    }
}

fn lines(checks: &[Check]) -> String {
    let line = |check| serde_json::to_string(check).unwrap_or_default() + "\n";
    checks.iter().map(line).collect()
}

fn table(checks: &[Check]) -> String {
    let width = checks
        .iter()
        .map(|check| check.name.len())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for check in checks {
        let level = match check.level {
            Level::Ok => "ok",
            Level::Warning => "warn",
            Level::Error => "FAIL",
        };
        text.push_str(&format!(
            "{level:<5} {:<width$}  {}\n",
            check.name, check.found
        ));
        for line in check.remedy.iter().flat_map(|remedy| remedy.lines()) {
            text.push_str(&format!("{:indent$}-> {line}\n", "", indent = width + 8));
        }
    }
    let count = |level| checks.iter().filter(|check| check.level == level).count();
    let summary = match (count(Level::Error), count(Level::Warning)) {
        (0, 0) => "everything is fine".to_owned(),
        (0, warnings) => format!("it works; {}", counted(warnings, "warning")),
        (errors, 0) => counted(errors, "error"),
        (errors, warnings) => {
            format!(
                "{}, {}",
                counted(errors, "error"),
                counted(warnings, "warning")
            )
        }
    };
    text + &summary + "\n"
}

fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Vec<Check> {
        vec![
            Check::ok("state", "/s"),
            Check::warning("inotify", "8192 watches", "raise it"),
            Check::error("model", "none", "set a key\nor start a server"),
        ]
    }

    #[test]
    fn a_remedy_stands_below_what_it_is_for() {
        insta::assert_snapshot!(table(&some()), @r"
        ok    state    /s
        warn  inotify  8192 watches
                       -> raise it
        FAIL  model    none
                       -> set a key
                       -> or start a server
        1 error, 1 warning
        ");
    }

    #[test]
    fn scripts_get_a_line_of_json_for_each_check() {
        insta::assert_snapshot!(lines(&some()), @r#"
        {"name":"state","level":"ok","found":"/s"}
        {"name":"inotify","level":"warning","found":"8192 watches","remedy":"raise it"}
        {"name":"model","level":"error","found":"none","remedy":"set a key\nor start a server"}
        "#);
    }

    #[test]
    fn only_errors_make_it_fail() {
        assert_eq!(report(&some(), true).code, 1);
        assert_eq!(report(&some()[..2], true).code, 0);
        assert!(
            report(&some()[..1], false)
                .out
                .ends_with("everything is fine\n")
        );
    }
}
