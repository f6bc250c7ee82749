//! The same protection as text for macOS's Seatbelt. Pure: nothing is run or read here.
//!
//! Later rules win in this language, so the order is: everything readable, what is writable, what
//! is protected in it, what is hidden.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

use crate::{
    spec::{Mode, Profile},
    tables::{HIDDEN_IN_HOME, HIDDEN_PATHS, PROTECTED_IN_GIT, PROTECTED_NAMES},
};

/// Directories that commands may write in besides the workspace.
const SCRATCH: &[&str] = &["/private/tmp", "/private/var/tmp", "/private/var/folders"];
/// Devices that commands may write to.
const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/tty", "/dev/ptmx"];

/// The profile as text for `sandbox-exec -p`. `home` is the user's home directory.
///
/// For [`Mode::FullAccess`] it allows everything.
#[must_use]
pub fn profile(profile: &Profile, home: Option<&Path>) -> String {
    let mut text = String::from("(version 1)\n(allow default)\n");
    if profile.mode == Mode::FullAccess {
        return text;
    }
    let mut rule = |line: String| writeln!(text, "{line}").expect("text takes any amount of text");
    rule("(deny file-write*)".to_owned());
    for path in SCRATCH {
        rule(format!(
            "(allow file-write* (subpath {}))",
            quoted(Path::new(path))
        ));
    }
    for path in DEVICES {
        rule(format!(
            "(allow file-write* (literal {}))",
            quoted(Path::new(path))
        ));
    }
    rule("(allow file-write* (regex #\"^/dev/ttys[0-9]+$\"))".to_owned());
    if profile.mode == Mode::WorkspaceWrite {
        for root in [&profile.workspace].into_iter().chain(&profile.writable) {
            rule(format!("(allow file-write* (subpath {}))", quoted(root)));
            for name in PROTECTED_NAMES {
                rule(format!(
                    "(deny file-write* (subpath {}))",
                    quoted(&root.join(name.name))
                ));
            }
            // The git directory itself can be neither made, renamed nor removed.
            rule(format!(
                "(deny file-write* (literal {}))",
                quoted(&root.join(".git"))
            ));
            for name in PROTECTED_IN_GIT {
                rule(format!(
                    "(deny file-write* (subpath {}))",
                    quoted(&root.join(".git").join(name.name))
                ));
            }
            rule(format!(
                "(deny file-read* file-write* (regex #\"^{}/(.*/)?\\.env(\\.[^/]*)?$\"))",
                escaped(root)
            ));
        }
    }
    let in_home = home
        .into_iter()
        .flat_map(|home| HIDDEN_IN_HOME.iter().map(|entry| home.join(entry.name)));
    let hidden: Vec<PathBuf> = HIDDEN_PATHS
        .iter()
        .map(|entry| PathBuf::from(entry.name))
        .chain(in_home)
        .chain(profile.hidden.iter().cloned())
        .collect();
    for path in hidden {
        rule(format!(
            "(deny file-read* file-write* (subpath {}))",
            quoted(&path)
        ));
    }
    if profile.network.is_empty() {
        rule("(deny network*)".to_owned());
        rule("(allow network* (local ip \"localhost:*\"))".to_owned());
    }
    text
}

fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A path for use in a pattern.
fn escaped(path: &Path) -> String {
    let mut text = String::new();
    for letter in path.to_string_lossy().chars() {
        if !(letter.is_alphanumeric() || "/_-".contains(letter)) {
            text.push('\\');
        }
        text.push(letter);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(mode: Mode, network: &[&str]) -> String {
        let given = Profile {
            mode,
            workspace: "/w \"x\"".into(),
            writable: vec!["/more".into()],
            hidden: vec!["/secret".into()],
            network: network.iter().map(|host| (*host).to_owned()).collect(),
            require: vec![],
            scratch: None,
        };
        profile(&given, Some(Path::new("/Users/u")))
    }

    #[test]
    fn the_modes_differ_as_they_should() {
        let workspace = "(allow file-write* (subpath \"/w \\\"x\\\"\"))";
        let hooks = "(deny file-write* (subpath \"/more/.git/hooks\"))";
        let ssh = "(deny file-read* file-write* (subpath \"/Users/u/.ssh\"))";
        let network = "(deny network*)";
        let table = [
            (Mode::ReadOnly, &[][..], [false, false, true, true]),
            (Mode::WorkspaceWrite, &[], [true, true, true, true]),
            (Mode::WorkspaceWrite, &["x"], [true, true, true, false]),
            (Mode::FullAccess, &[], [false; 4]),
        ];
        for (mode, hosts, want) in table {
            let text = text(mode, hosts);
            let found = [workspace, hooks, ssh, network].map(|line| text.contains(line));
            assert_eq!(found, want, "for {mode} {hosts:?} in\n{text}");
        }
    }

    #[test]
    fn what_is_hidden_comes_after_what_is_allowed() {
        let text = text(Mode::WorkspaceWrite, &[]);
        let last_allowed = text.rfind("(allow file-write*").unwrap();
        assert!(text.find("(subpath \"/secret\")").unwrap() > last_allowed);
    }
}
