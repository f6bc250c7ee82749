//! The command line of the `run` form.

use std::path::PathBuf;

use quire_sandbox::spec::{Layer, Mode};

/// Shown when asked for, and after wrong use.
pub(crate) const USAGE: &str = "\
usage: quire sandbox [OPTIONS] [--] COMMAND [ARGUMENT]...

Runs one command under a profile, without a daemon.

  --mode MODE        read-only, workspace-write (default) or full-access
  --workspace DIR    the directory it may write in (default: the current one)
  --writable DIR     a further one; may be given again
  --hidden PATH      can't be read; may be given again
  --net HOST         allow network (for now all of it); may be given again
  --require LAYER    run nothing unless `namespaces`, `landlock` or `seccomp` holds
  --explain          first print on stderr what holds and what does not
  -h, --help         print this

Exits as the command did: 128 + N after signal N, 126 or 127 when it can't be run,
2 after wrong use, 7 when a required layer can't be had.

examples:
  quire sandbox -- cargo test
  quire sandbox --mode read-only --explain -- sh -c 'rm -rf .'
";

/// What the `run` form was asked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) mode: Mode,
    pub(crate) workspace: Option<PathBuf>,
    pub(crate) writable: Vec<PathBuf>,
    pub(crate) hidden: Vec<PathBuf>,
    pub(crate) network: Vec<String>,
    pub(crate) require: Vec<Layer>,
    pub(crate) explain: bool,
    pub(crate) command: Vec<String>,
}

/// What to do instead of running.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Instead {
    /// Print the usage and succeed.
    Help,
    /// Print this and the usage, and fail.
    Wrong(String),
}

/// Reads arguments after the form's name.
pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Arguments, Instead> {
    let mut rest = arguments.into_iter();
    let mut parsed = Arguments {
        mode: Mode::WorkspaceWrite,
        workspace: None,
        writable: Vec::new(),
        hidden: Vec::new(),
        network: Vec::new(),
        require: Vec::new(),
        explain: false,
        command: Vec::new(),
    };
    while let Some(argument) = rest.next() {
        if argument == "--" || !argument.starts_with('-') {
            parsed
                .command
                .extend((argument != "--").then_some(argument));
            parsed.command.extend(rest.by_ref());
            break;
        }
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (argument, None),
        };
        option(&mut parsed, &name, value, &mut rest)?;
    }
    match parsed.command.first() {
        Some(_) => Ok(parsed),
        None => Err(Instead::Wrong("no command was given".to_owned())),
    }
}

fn option(
    parsed: &mut Arguments,
    name: &str,
    value: Option<String>,
    rest: &mut impl Iterator<Item = String>,
) -> Result<(), Instead> {
    match name {
        "-h" | "--help" => return Err(Instead::Help),
        "--explain" => {
            parsed.explain = true;
            return Ok(());
        }
        "--mode" | "--workspace" | "--writable" | "--hidden" | "--net" | "--require" => {}
        _ => return Err(Instead::Wrong(format!("unknown option `{name}`"))),
    }
    let value = value
        .or_else(|| rest.next())
        .filter(|value| !value.is_empty());
    let value = value.ok_or_else(|| Instead::Wrong(format!("`{name}` needs a value")))?;
    let wrong = |error: quire_sandbox::spec::UnknownWord| Instead::Wrong(error.to_string());
    match name {
        "--mode" => parsed.mode = value.parse().map_err(wrong)?,
        "--workspace" => parsed.workspace = Some(value.into()),
        "--writable" => parsed.writable.push(value.into()),
        "--hidden" => parsed.hidden.push(value.into()),
        "--net" => parsed.network.push(value),
        _ => parsed.require.push(value.parse().map_err(wrong)?),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(text: &str) -> Result<Arguments, Instead> {
        parse(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_end_where_the_command_begins() {
        let parsed = parse_words("--mode=read-only --writable /a --writable /b --require seccomp --explain -- ls --mode x").unwrap();
        assert_eq!(parsed.mode, Mode::ReadOnly);
        assert_eq!(parsed.writable, [PathBuf::from("/a"), "/b".into()]);
        assert_eq!(parsed.require, [Layer::Seccomp]);
        assert!(parsed.explain);
        assert_eq!(parsed.command, ["ls", "--mode", "x"]);
        assert_eq!(
            parse_words("ls -l -- x").unwrap().command,
            ["ls", "-l", "--", "x"]
        );
    }

    #[test]
    fn wrong_use_is_told() {
        let table = [
            ("", "no command was given"),
            ("--", "no command was given"),
            ("--what ls", "unknown option `--what`"),
            ("--mode", "`--mode` needs a value"),
            (
                "--mode open ls",
                "`open` is not a mode: use read-only, workspace-write or full-access",
            ),
            (
                "--require all ls",
                "`all` is not a layer: use namespaces, landlock or seccomp",
            ),
        ];
        for (text, want) in table {
            assert_eq!(
                parse_words(text),
                Err(Instead::Wrong(want.to_owned())),
                "for `{text}`"
            );
        }
        assert_eq!(parse_words("--help"), Err(Instead::Help));
    }
}
