//! Small git repositories for the agent to work in.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{home::Home, process::Finished};

/// A git repository with one commit, in a home's place for work.
pub struct Repo {
    directory: PathBuf,
}

/// The patch that makes the test of [`Repo::failing`] pass.
pub const FIX: &str = "*** Begin Patch\n*** Update File: add.sh\n@@\n-echo $(($1 - $2))\n+echo $(($1 + $2))\n*** End Patch\n";

impl Repo {
    /// A shell script that subtracts where it should add, and `test.sh` that notices. Needs nothing
    /// but `sh`.
    #[must_use]
    pub fn failing(home: &Home) -> Self {
        Self::with(
            home,
            "adder",
            &[
                ("add.sh", "#!/bin/sh\necho $(($1 - $2))\n"),
                (
                    "test.sh",
                    "#!/bin/sh\ngot=$(sh ./add.sh 2 2)\n[ \"$got\" = 4 ] || { echo \"FAIL: 2 + 2 = $got\"; exit 1; }\necho ok\n",
                ),
            ],
        )
    }

    /// The sample package that the `fix` script of the outside mock model works on.
    #[must_use]
    pub fn calc(home: &Home) -> Self {
        Self::with(
            home,
            "calc-package",
            &[
                ("calc/__init__.py", ""),
                (
                    "calc/core.py",
                    "def mean(values):\n    total = sum(values)\n    return total / (len(values) - 1)\n",
                ),
                ("tests/__init__.py", ""),
                (
                    "tests/test_core.py",
                    "import unittest\n\nfrom calc.core import mean\n\n\nclass MeanTest(unittest.TestCase):\n    def test_mean(self):\n        self.assertEqual(mean([2, 4, 6]), 4)\n\n\nif __name__ == \"__main__\":\n    unittest.main()\n",
                ),
            ],
        )
    }

    /// A repository holding these files, committed.
    ///
    /// # Panics
    ///
    /// When it can't be made, for instance because git is not there.
    #[must_use]
    pub fn with(home: &Home, name: &str, files: &[(&str, &str)]) -> Self {
        let repo = Self {
            directory: home.work().join(name),
        };
        for (path, content) in files {
            let path = repo.path(path);
            let parent = path.parent().expect("a file has a directory");
            fs::create_dir_all(parent).expect("the place for work is writable");
            fs::write(&path, content).expect("the place for work is writable");
        }
        repo.git(home, &["init", "--quiet"]);
        repo.git(home, &["add", "--all"]);
        repo.git(
            home,
            &[
                "-c",
                "user.name=Test",
                "-c",
                "user.email=test@example.invalid",
                "commit",
                "--quiet",
                "--message=first",
            ],
        );
        repo
    }

    /// The top of it.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A path in it.
    #[must_use]
    pub fn path(&self, relative: &str) -> PathBuf {
        self.directory.join(relative)
    }

    /// Content of a file; empty when there is none.
    #[must_use]
    pub fn read(&self, relative: &str) -> String {
        fs::read_to_string(self.path(relative)).unwrap_or_default()
    }

    /// Whether the test of [`Repo::failing`] passes.
    #[must_use]
    pub fn passes(&self, home: &Home) -> bool {
        let test = home.program(Path::new("/bin/sh")).args(["./test.sh"]);
        test.dir(&self.directory).run().code == 0
    }

    fn git(&self, home: &Home, args: &[&str]) -> Finished {
        let git = home.program(Path::new("git")).dir(&self.directory);
        let finished = git.args(args.iter().copied()).run();
        assert_eq!(finished.code, 0, "git {args:?}: {}", finished.stderr);
        finished
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_failing_repository_fails_until_it_is_fixed() {
        let home = Home::new();
        let repo = Repo::failing(&home);
        assert!(!repo.passes(&home));
        fs::write(repo.path("add.sh"), "echo $(($1 + $2))\n").expect("writable");
        assert!(repo.passes(&home));
    }
}
