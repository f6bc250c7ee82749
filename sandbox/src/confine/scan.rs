//! Walks a workspace once and finds what must be masked or made read-only below its top.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use quire_sandbox::tables::{PROTECTED_NAMES, is_dotenv};

/// Most entries looked at.
const BUDGET: usize = 400_000;

/// What a walk found. Paths are absolute, in no particular order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Git directories, or files that point to one, below the top.
    pub(crate) repositories: Vec<PathBuf>,
    /// Entries with a protected name below the top.
    pub(crate) protected: Vec<PathBuf>,
    /// Files with secrets, and sockets of other programs.
    pub(crate) masked: Vec<PathBuf>,
    /// True when the workspace is too large to be walked whole.
    pub(crate) cut_short: bool,
}

/// Walks `top`. Directories that can't be read are passed over: the command can't read them either.
pub(crate) fn scan(top: &Path) -> Found {
    let mut found = Found::default();
    let mut open = vec![top.to_path_buf()];
    let mut seen = 0;
    while let Some(directory) = open.pop() {
        let Ok(entries) = fs::read_dir(&directory) else {
            continue;
        };
        for entry in entries.flatten() {
            seen += 1;
            if seen > BUDGET {
                found.cut_short = true;
                return found;
            }
            let _ = look(&entry, directory == top, &mut found, &mut open);
        }
    }
    found
}

fn look(
    entry: &fs::DirEntry,
    is_top: bool,
    found: &mut Found,
    open: &mut Vec<PathBuf>,
) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    let kind = entry.file_type()?;
    let name = entry.file_name();
    let name = name.to_str().unwrap_or_default();
    if name == ".git" {
        if !is_top {
            found.repositories.push(entry.path());
        }
    } else if PROTECTED_NAMES
        .iter()
        .any(|protected| protected.name == name)
    {
        if !is_top {
            found.protected.push(entry.path());
        }
    } else if kind.is_dir() {
        open.push(entry.path());
    } else if kind.is_socket() || (kind.is_file() && is_dotenv(name)) {
        found.masked.push(entry.path());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_repositories_secrets_and_sockets_are_found() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path();
        for path in [".git/hooks", ".vscode", "a/b/.git", "a/.vscode", "c"] {
            fs::create_dir_all(top.join(path)).unwrap();
        }
        for path in [
            ".env",
            "a/.env.local",
            "a/.env.example",
            "c/.git",
            ".git/.env",
        ] {
            fs::write(top.join(path), "").unwrap();
        }
        let _socket = std::os::unix::net::UnixListener::bind(top.join("c/s")).unwrap();
        std::os::unix::fs::symlink(top, top.join("loop")).unwrap();
        let mut found = scan(top);
        found.masked.sort();
        found.repositories.sort();
        let at = |names: &[&str]| names.iter().map(|name| top.join(name)).collect::<Vec<_>>();
        assert_eq!(found.masked, at(&[".env", "a/.env.local", "c/s"]));
        assert_eq!(found.repositories, at(&["a/b/.git", "c/.git"]));
        assert_eq!(found.protected, at(&["a/.vscode"]));
        assert!(!found.cut_short);
    }
}
