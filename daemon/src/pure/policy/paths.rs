//! Which paths a policy lets a tool write, and which it hides.
//!
//! Paths are compared by name: callers resolve symbolic links first.

use std::path::{Component, Path};

use quire_proto::v1::Policy;

/// A name that stays read-only in a workspace, also when nothing has it yet.
#[derive(Clone, Copy, Debug)]
pub struct Protected {
    /// Name of a file or directory, at any depth.
    pub name: &'static str,
    /// Why.
    pub reason: &'static str,
}

const fn protect(name: &'static str, reason: &'static str) -> Protected {
    Protected { name, reason }
}

/// The names. Kept as the sandbox's own table has them.
pub const PROTECTED: &[Protected] = &[
    protect(".git", "git runs programs that are named there"),
    protect(
        ".quire",
        "Quire's own configuration: could widen the policy",
    ),
    protect(".agents", "skills and commands that agents run"),
    protect(".claude", "hooks and commands that another agent runs"),
    protect(".codex", "configuration of another agent"),
    protect(".gemini", "configuration of another agent"),
    protect(".cursor", "configuration of another agent"),
    protect(".vscode", "tasks that an editor runs"),
    protect(".idea", "tasks that an editor runs"),
    protect(".devcontainer", "commands that an editor runs"),
    protect(".husky", "hooks that git runs"),
    protect(".mcp.json", "commands that agents run"),
    protect(".envrc", "commands that direnv runs"),
];

/// Why a path in the workspace may not be written without a person's word; `None` when it may, or
/// is not in the workspace at all.
///
/// Names match whatever their case: some file systems don't tell `.Git` from `.git`.
#[must_use]
pub fn protected(workspace: &Path, path: &Path) -> Option<&'static Protected> {
    let below = path.strip_prefix(workspace).ok()?;
    below.components().find_map(|component| {
        let name = component.as_os_str().to_str()?;
        PROTECTED
            .iter()
            .find(|entry| entry.name.eq_ignore_ascii_case(name))
    })
}

/// Whether a path is a directory or in it. One with `..` in it never is: where that leads is only
/// known on the disk.
#[must_use]
pub fn within(directory: &Path, path: &Path) -> bool {
    let plain = path
        .components()
        .all(|component| component != Component::ParentDir);
    plain && directory.is_absolute() && path.starts_with(directory)
}

/// The policy's hidden path that covers `path`, if any.
#[must_use]
pub fn hidden<'p>(policy: &'p Policy, path: &Path) -> Option<&'p str> {
    let covers = |hidden: &&String| within(Path::new(hidden), path);
    policy.hidden.iter().find(covers).map(String::as_str)
}

/// The directory that makes a path writable: the workspace, or one of the policy's. `None` when
/// it's in neither.
#[must_use]
pub fn writable_root<'p>(policy: &'p Policy, workspace: &'p Path, path: &Path) -> Option<&'p Path> {
    let roots = policy.writable.iter().map(Path::new);
    std::iter::once(workspace)
        .chain(roots)
        .find(|root| within(root, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protected_names_are_found_at_any_depth_and_case() {
        let table = [
            ("/w/src/lib.rs", None),
            ("/w/.git", Some(".git")),
            ("/w/.git/hooks/pre-commit", Some(".git")),
            ("/w/vendor/x/.GIT/config", Some(".git")),
            ("/w/.gitignore", None),
            ("/w/.quire/config.toml", Some(".quire")),
            ("/elsewhere/.git", None),
        ];
        for (path, want) in table {
            let found = protected(Path::new("/w"), Path::new(path));
            assert_eq!(found.map(|entry| entry.name), want, "for {path}");
        }
    }

    #[test]
    fn a_path_that_climbs_is_nowhere() {
        let workspace = Path::new("/w");
        let table = [
            ("/w", true),
            ("/w/a", true),
            ("/w2/a", false),
            ("/w/../etc", false),
            ("w/a", false),
        ];
        for (path, want) in table {
            assert_eq!(within(workspace, Path::new(path)), want, "for {path}");
        }
        assert!(!within(Path::new(""), Path::new("/w")));
    }
}
