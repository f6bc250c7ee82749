//! Reading the sources: which crate, layer and file may name what.
//!
//! These are pure functions from texts to breaches; `tests/layers.rs` runs them over the real tree.
//! The rules are those of the blueprint; each returns sentences that name the file and the offence.

pub mod paths;
pub mod rules;
pub mod tokens;

use std::{
    fs,
    path::{Path, PathBuf},
};

use tokens::Source;

/// One source file.
#[derive(Debug)]
pub struct File {
    /// From the top of the tree, `/` between names.
    pub path: String,
    /// Its text.
    pub text: String,
    /// Its tokens.
    pub source: Source,
}

impl File {
    /// A file of this text.
    #[must_use]
    pub fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            source: Source::read(text),
        }
    }

    /// The crate it belongs to, by its directory.
    #[must_use]
    pub fn krate(&self) -> &str {
        self.path.split('/').next().unwrap_or_default()
    }

    /// Its module's path from the crate's root: `["pure", "turn"]` for `src/pure/turn.rs` and for
    /// `src/pure/turn/mod.rs`; empty for the root itself and for binaries.
    #[must_use]
    pub fn module(&self) -> Vec<String> {
        let inside = self.path.split("/src/").nth(1).unwrap_or_default();
        let names = inside.trim_end_matches(".rs").split('/');
        let mut names: Vec<_> = names.map(str::to_owned).collect();
        let root = ["mod", "lib", "main"];
        if names
            .last()
            .is_some_and(|last| root.contains(&last.as_str()))
        {
            names.pop();
        }
        if names.first().is_some_and(|first| first == "bin") {
            names.clear();
        }
        names
    }
}

/// Every `.rs` file in the `src` directories of these crates, below `root`.
///
/// # Panics
///
/// When a directory or file can't be read.
#[must_use]
pub fn files(root: &Path, crates: &[&str]) -> Vec<File> {
    let mut files = Vec::new();
    for krate in crates {
        walk(&root.join(krate).join("src"), &mut |path| {
            let text = fs::read_to_string(path).expect("sources are readable");
            let relative = path
                .strip_prefix(root)
                .expect("it was found below the root");
            files.push(File::new(&relative.display().to_string(), &text));
        });
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn walk(directory: &Path, visit: &mut dyn FnMut(&Path)) {
    let entries = fs::read_dir(directory).expect("a crate has sources");
    let paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    for path in paths {
        if path.is_dir() {
            walk(&path, visit);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            visit(&path);
        }
    }
}
