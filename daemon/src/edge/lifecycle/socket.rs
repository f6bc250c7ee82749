//! The socket: where it may be, and that it is gone when the daemon is.

use std::{
    env, fs, io,
    os::unix::{
        fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use quire_proto::home::{Home, HomeError, SOCKET_NAME, socket_fits};

use super::{directory, error::StartError};

/// A socket that listens. Its file is removed with [`remove`](Self::remove) or on drop.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) path: PathBuf,
    /// Taken by the one who accepts.
    pub(super) listener: Option<UnixListener>,
    /// Device and inode of the file that was made.
    identity: Option<(u64, u64)>,
    /// The directory, when it is there for this socket alone.
    directory: Option<PathBuf>,
}

impl Socket {
    /// Whether clients still find this socket at its path.
    pub(super) fn is_there(&self) -> bool {
        self.identity.is_some() && identity(&self.path) == self.identity
    }

    /// Takes the place of a socket that is no longer there, whose file must not be removed again.
    pub(super) fn replace(&mut self, new: Self) {
        self.path.clear();
        self.directory = None;
        *self = new;
    }

    /// Removes the file, so that nobody new finds the daemon.
    pub(super) fn remove(&self) {
        let _gone = fs::remove_file(&self.path);
        if let Some(directory) = &self.directory {
            let _gone = fs::remove_dir(directory);
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Listens in the first directory that is fit for it. The caller holds the lock, so a socket that
/// nobody answers on is stale.
pub(super) fn listen(home: &Home) -> Result<Socket, StartError> {
    let mut refused = None;
    for directory in home.socket_dirs() {
        match listen_in(home, &directory) {
            Ok(socket) => return Ok(socket),
            Err(error) => {
                tracing::debug!(directory = %directory.display(), %error, "no socket here");
                refused = Some(error);
            }
        }
    }
    Err(refused.unwrap_or(HomeError::LongSocketPath(home.daemon()).into()))
}

fn listen_in(home: &Home, directory: &Path) -> Result<Socket, StartError> {
    let path = directory.join(SOCKET_NAME);
    if !socket_fits(&path) {
        return Err(HomeError::LongSocketPath(path).into());
    }
    let short = home.short_socket_dir().filter(|short| short == directory);
    if directory != home.daemon() && short.is_none() {
        check_runtime_directory(directory)?;
    }
    directory::own(directory, &mut Vec::new())?;
    clear(&path)?;
    let failed = |source| StartError::Write {
        path: path.clone(),
        source,
    };
    let listener = UnixListener::bind(&path).map_err(failed)?;
    let socket = Socket {
        path: path.clone(),
        listener: Some(listener),
        identity: identity(&path),
        directory: short,
    };
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(socket)
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::symlink_metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// The runtime directory itself is not ours to narrow: it must be private already.
fn check_runtime_directory(directory: &Path) -> Result<(), StartError> {
    let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let Some(runtime) = runtime.filter(|runtime| directory.starts_with(runtime)) else {
        return Ok(());
    };
    let metadata = fs::metadata(&runtime).map_err(|source| StartError::Directory {
        path: runtime.clone(),
        source,
    })?;
    let ours = metadata.uid() == rustix::process::geteuid().as_raw();
    if ours && metadata.is_dir() && metadata.mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(StartError::Foreign {
        path: runtime,
        problem: "is open to other users",
    })
}

/// Removes what a killed daemon left.
fn clear(path: &Path) -> Result<(), StartError> {
    let taken = || StartError::SocketTaken {
        path: path.to_owned(),
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // A daemon of another state directory may share the runtime directory, as in a container.
        Ok(metadata) if metadata.file_type().is_socket() && UnixStream::connect(path).is_err() => {
            fs::remove_file(path).map_err(|source| StartError::Write {
                path: path.to_owned(),
                source,
            })
        }
        _ => Err(taken()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch() -> (tempfile::TempDir, Home) {
        let root = tempfile::tempdir().unwrap();
        let home = Home::under(root.path().to_owned()).unwrap();
        fs::create_dir(home.daemon()).unwrap();
        (root, home)
    }

    #[test]
    fn the_socket_is_private_and_gone_with_its_owner() {
        let (_root, home) = scratch();
        let socket = listen(&home).unwrap();
        let path = socket.path.clone();
        assert_eq!(path, home.daemon().join(SOCKET_NAME));
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        UnixStream::connect(&path).unwrap();
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
        let (_root, home) = scratch();
        let path = home.daemon().join(SOCKET_NAME);
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let living = listen(&home).unwrap();
        let error = listen(&home).unwrap_err();
        assert!(matches!(error, StartError::SocketTaken { .. }), "{error:?}");
        assert!(living.path.exists());
    }

    #[test]
    fn what_is_no_socket_is_not_removed() {
        let (_root, home) = scratch();
        let path = home.daemon().join(SOCKET_NAME);
        fs::write(&path, "precious").unwrap();
        assert!(listen(&home).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }
}
