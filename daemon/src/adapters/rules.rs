//! Keeps a rule that a person wants always: at the end of the user's configuration file.
//!
//! Nothing else of the file is touched, comments least of all: a table of an array may always stand
//! last.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

use quire_proto::v1::{Decision, Rule};
use toml::Value;

use crate::pure::config::{Layer, Origin};

/// Adds `rule` to the configuration in `file`, which is made if there is none.
///
/// # Errors
///
/// One sentence: why the file stayed as it was.
pub fn add_rule(file: &Path, rule: &Rule) -> Result<(), String> {
    let failed = |error: io::Error| format!("cannot write `{}`: {error}", file.display());
    let before = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(failed(error)),
    };
    let after = format!("{}{}", lined(&before), table(rule));
    if let Err(problems) = Layer::parse(Origin::User(file.to_owned()), &after, None) {
        return Err(format!("`{}` cannot take it: {problems}", file.display()));
    }
    replace(file, &after).map_err(failed)
}

/// The text with an end to its last line and a blank line after it.
fn lined(text: &str) -> String {
    match text {
        "" => String::new(),
        text if text.ends_with('\n') => format!("{text}\n"),
        text => format!("{text}\n\n"),
    }
}

fn table(rule: &Rule) -> String {
    let decision = match rule.decision() {
        Decision::Allow => "allow",
        Decision::Deny => "deny",
        Decision::Ask | Decision::Unspecified => "ask",
    };
    let prefix = Value::from(rule.prefix.clone());
    format!("[[policy.rules]]\nprefix = {prefix}\ndecision = \"{decision}\"\n")
}

/// Puts `text` in the file's place, whole or not at all.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let directory = file.parent().unwrap_or(file);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    let new = file.with_extension("toml.new");
    let mut options = fs::OpenOptions::new();
    let mut written = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    written.write_all(text.as_bytes())?;
    written.sync_all()?;
    if let Ok(metadata) = fs::metadata(file) {
        written.set_permissions(metadata.permissions())?;
    }
    // A file that is a link, as dotfiles often are, stays one.
    let target = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    if target.parent() == file.parent() {
        return fs::rename(&new, &target);
    }
    fs::copy(&new, &target)?;
    fs::remove_file(&new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(prefix: &[&str]) -> Rule {
        Rule {
            prefix: prefix.iter().map(ToString::to_string).collect(),
            decision: Decision::Allow.into(),
            reason: String::new(),
        }
    }

    #[test]
    fn a_rule_goes_to_the_end_and_nothing_else_changes() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config").join("config.toml");
        add_rule(&file, &rule(&["cargo", "test"])).unwrap();
        let first = fs::read_to_string(&file).unwrap();
        assert_eq!(
            first,
            "[[policy.rules]]\nprefix = [\"cargo\", \"test\"]\ndecision = \"allow\"\n"
        );
        let text = "# mine\n[policy]\napprove = \"untrusted\" # really";
        fs::write(&file, text).unwrap();
        add_rule(&file, &rule(&["a \"b\""])).unwrap();
        let second = fs::read_to_string(&file).unwrap();
        assert!(
            second.starts_with(&format!("{text}\n\n[[policy.rules]]")),
            "{second}"
        );
        assert!(Layer::parse(Origin::User(file), &second, None).is_ok());
    }

    #[test]
    fn a_file_that_cannot_take_it_stays_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.toml");
        let text = "[policy]\nrules = [{ prefix = [\"ls\"], decision = \"allow\" }]\n";
        fs::write(&file, text).unwrap();
        assert!(add_rule(&file, &rule(&["cargo"])).is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
}
