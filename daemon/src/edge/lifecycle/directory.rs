//! Directories that only this user can reach.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use quire_proto::home::Home;
use rustix::fs::Access;

use super::error::StartError;

/// Makes the state directory and what stands in it. What was made is gone again after an error.
pub(super) fn make_all(home: &Home) -> Result<(), StartError> {
    let wanted = [
        home.state().to_owned(),
        home.daemon(),
        home.logs(),
        home.jobs(),
        home.growing(),
    ];
    let mut made = Vec::new();
    let result = wanted.iter().try_for_each(|path| own(path, &mut made));
    if result.is_err() {
        for path in made.iter().rev() {
            let _not_empty = fs::remove_dir(path);
        }
    }
    result
}

/// Makes sure that `path` is a directory of this user's that nobody else can reach, narrowing its
/// mode if need be. What had to be made is added to `made`.
pub(super) fn own(path: &Path, made: &mut Vec<PathBuf>) -> Result<(), StartError> {
    let unusable = |source| StartError::Directory {
        path: path.to_owned(),
        source,
    };
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_symlink() => check_owner(path, &metadata)?,
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return make(path, made).map_err(unusable);
        }
        Err(error) => return Err(unusable(error)),
    }
    let metadata = fs::metadata(path).map_err(unusable)?;
    if !metadata.is_dir() {
        return Err(unusable(io::ErrorKind::NotADirectory.into()));
    }
    check_owner(path, &metadata)?;
    if metadata.mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(unusable)?;
    }
    let usable = Access::WRITE_OK | Access::EXEC_OK;
    rustix::fs::access(path, usable).map_err(|errno| unusable(errno.into()))
}

fn check_owner(path: &Path, metadata: &fs::Metadata) -> Result<(), StartError> {
    if metadata.uid() == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    Err(StartError::Foreign {
        path: path.to_owned(),
        problem: "belongs to another user",
    })
}

/// Makes `path` and the parents it lacks.
fn make(path: &Path, made: &mut Vec<PathBuf>) -> io::Result<()> {
    if let Some(parent) = path.parent()
        && !parent.try_exists()?
    {
        make(parent, made)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(path) {
        // Another daemon starts at the same time; the lock will tell who is first.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(()) => {
            made.push(path.to_owned());
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch() -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b/state");
        (root, path)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn directories_are_made_private() {
        let (root, path) = scratch();
        let home = Home::under(path.clone()).unwrap();
        make_all(&home).unwrap();
        make_all(&home).unwrap();
        for made in [root.path().join("a"), path, home.daemon(), home.jobs()] {
            assert_eq!(mode(&made), 0o700, "for {}", made.display());
        }
    }

    #[test]
    fn a_wide_mode_is_narrowed_also_behind_a_link() {
        let (root, path) = scratch();
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        let link = root.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        own(&link, &mut Vec::new()).unwrap();
        assert_eq!(mode(&path), 0o700);
    }

    #[test]
    fn a_file_in_the_way_is_an_error_and_nothing_stays_behind() {
        let (root, path) = scratch();
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("jobs"), "").unwrap();
        let home = Home::under(path.clone()).unwrap();
        let error = make_all(&home).unwrap_err();
        assert!(
            matches!(&error, StartError::Directory { path, .. } if *path == home.jobs()),
            "{error:?}"
        );
        let left: Vec<_> = fs::read_dir(&path).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
        drop(root);
    }
}
