//! Finds the files that say how to work in a project: AGENTS.md and its like.
//!
//! The user's own comes first, then one of each directory from the workspace down to where the
//! session works. A repository's file is read only if it really lies in the repository.

use std::path::{Path, PathBuf};

use quire_proto::v1::Policy;

use super::small_file;
use crate::pure::{
    policy::hidden,
    prompt::{GUIDES_MAX, Guide, fit_guides},
};

/// Names looked for in a directory; the first that holds anything is taken.
const NAMES: &[&str] = &["AGENTS.override.md", "AGENTS.md", "CLAUDE.md", "GEMINI.md"];

/// Larger files are refused; smaller ones may still be cut to [`GUIDES_MAX`].
const LARGEST: u64 = 16 * GUIDES_MAX as u64;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// In the order the model is to see them, at most [`GUIDES_MAX`] bytes in all.
    pub guides: Vec<Guide>,
    /// What was cut or refused, for the people.
    pub notices: Vec<String>,
}

/// Reads the guides of a session. `directory` is that of the user's configuration, `workspace` and
/// `cwd` are absolute.
#[must_use]
pub fn find(directory: &Path, workspace: &Path, cwd: &Path, policy: &Policy) -> Found {
    let mut notices = Vec::new();
    let mut guides = Vec::new();
    guides.extend(of_user(directory, &mut notices));
    for place in places(workspace, cwd) {
        guides.extend(of_directory(workspace, &place, policy, &mut notices));
    }
    let (guides, cut) = fit_guides(guides);
    notices.extend(cut);
    Found { guides, notices }
}

/// The directories from the workspace down to `cwd`.
fn places(workspace: &Path, cwd: &Path) -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = cwd
        .ancestors()
        .take_while(|above| above.starts_with(workspace))
        .map(Path::to_path_buf)
        .collect();
    if places.is_empty() {
        places.push(workspace.to_path_buf());
    }
    places.reverse();
    places
}

fn of_user(directory: &Path, notices: &mut Vec<String>) -> Option<Guide> {
    NAMES[..2].iter().find_map(|name| {
        let path = directory.join(name);
        match small_file::read(&path, LARGEST) {
            Ok(text) => guide(&path, text?),
            Err(error) => {
                notices.push(format!("`{}` {error}; it is left out", path.display()));
                None
            }
        }
    })
}

fn of_directory(
    workspace: &Path,
    place: &Path,
    policy: &Policy,
    notices: &mut Vec<String>,
) -> Option<Guide> {
    NAMES.iter().find_map(|name| {
        let path = place.join(name);
        match small_file::read_below(workspace, &path, LARGEST) {
            Ok(None) => None,
            Ok(Some((real, _))) if hidden(policy, &real).is_some() => {
                notices.push(format!(
                    "`{}` is hidden by the policy; it is left out",
                    path.display()
                ));
                None
            }
            Ok(Some((_, text))) => guide(&path, text),
            Err(error) => {
                notices.push(format!("`{}` {error}; it is left out", path.display()));
                None
            }
        }
    })
}

fn guide(path: &Path, text: String) -> Option<Guide> {
    (!text.trim().is_empty()).then(|| Guide {
        path: path.display().to_string(),
        text,
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    struct World(tempfile::TempDir);

    impl World {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            fs::create_dir_all(directory.path().join("w/a/b")).unwrap();
            fs::create_dir_all(directory.path().join("c")).unwrap();
            Self(directory)
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().canonicalize().unwrap().join(name)
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.path(name), text).unwrap();
        }

        fn find(&self, cwd: &str, policy: &Policy) -> (Vec<String>, Vec<String>) {
            let found = find(&self.path("c"), &self.path("w"), &self.path(cwd), policy);
            let texts = found.guides.into_iter().map(|guide| guide.text).collect();
            (texts, found.notices)
        }
    }

    #[test]
    fn one_guide_of_each_directory_from_the_user_down() {
        let world = World::new();
        world.write("c/AGENTS.md", "user");
        world.write("w/AGENTS.md", "top");
        world.write("w/CLAUDE.md", "not taken");
        world.write("w/a/CLAUDE.md", "middle");
        world.write("w/a/b/AGENTS.override.md", "deep");
        world.write("w/a/b/AGENTS.md", "not taken");
        let policy = Policy::default();
        assert_eq!(
            world.find("w/a/b", &policy).0,
            ["user", "top", "middle", "deep"]
        );
        assert_eq!(world.find("w", &policy).0, ["user", "top"]);
        assert_eq!(world.find("c", &policy).0, ["user", "top"]);
        world.write("w/AGENTS.md", " \n");
        assert_eq!(world.find("w", &policy).0, ["user", "not taken"]);
    }

    #[test]
    fn what_a_stranger_may_have_placed_is_refused_and_told() {
        let world = World::new();
        world.write("secret", "secret");
        world.write("w/hidden", "secret");
        symlink("../secret", world.path("w/AGENTS.md")).unwrap();
        symlink("/dev/zero", world.path("w/CLAUDE.md")).unwrap();
        symlink("../hidden", world.path("w/a/AGENTS.md")).unwrap();
        fs::create_dir(world.path("w/a/b/AGENTS.md")).unwrap();
        let policy = Policy {
            hidden: vec![world.path("w/hidden").display().to_string()],
            ..Policy::default()
        };
        let (texts, notices) = world.find("w/a/b", &policy);
        assert_eq!(texts, Vec::<String>::new());
        let said = [
            "leads out",
            "leads out",
            "is hidden",
            "is not a regular file",
        ];
        assert_eq!(notices.len(), said.len(), "{notices:?}");
        for (notice, said) in notices.iter().zip(said) {
            assert!(notice.contains(said), "{notice}");
        }
    }

    #[test]
    fn links_within_the_workspace_are_followed() {
        let world = World::new();
        world.write("w/GUIDE.md", "linked");
        symlink("GUIDE.md", world.path("w/AGENTS.md")).unwrap();
        assert_eq!(world.find("w", &Policy::default()).0, ["linked"]);
    }
}
