//! The client's world, which travels with a session: its commands see the directory, environment
//! and umask of the terminal that made it, not those of whoever started the daemon.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use quire_proto::{
    id::RequestId,
    v1::{ClientWorld, Session, SessionServiceUpdateRequest},
};

use crate::failure::Failure;

/// What most systems give a new user.
const USUAL_UMASK: u32 = 0o022;

/// The world of this process, in `directory` or else where it stands.
///
/// Variables that are not UTF-8 stay behind: the wire has no place for them.
///
/// # Errors
///
/// When the directory is not there.
pub fn here(directory: Option<&Path>) -> Result<ClientWorld, Failure> {
    let variables = env::vars_os();
    let environment = variables
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Ok(ClientWorld {
        cwd: text(absolute(directory.unwrap_or(Path::new(".")))?)?,
        environment: environment.collect(),
        umask: umask().unwrap_or(USUAL_UMASK),
    })
}

/// Gives `world` to a session, which takes of it the secrets that it lacks.
#[must_use]
pub fn lending(session: &str, world: ClientWorld) -> SessionServiceUpdateRequest {
    SessionServiceUpdateRequest {
        request_id: RequestId::random().to_string(),
        session: Some(Session {
            id: session.to_owned(),
            ..Session::default()
        }),
        update_mask: None,
        world: Some(world),
        replace_world: false,
    }
}

/// Absolute directories as text.
///
/// # Errors
///
/// When one is not there, or its path is not UTF-8.
pub fn directories(paths: &[PathBuf]) -> Result<Vec<String>, Failure> {
    paths.iter().map(|path| text(absolute(path)?)).collect()
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    let refused =
        |why: String| Failure::usage(format!("cannot work in `{}`: {why}", path.display()));
    let found = fs::canonicalize(path).map_err(|error| refused(error.to_string()))?;
    if found.is_dir() {
        Ok(found)
    } else {
        Err(refused("not a directory".into()))
    }
}

fn text(path: PathBuf) -> Result<String, Failure> {
    let text = path.into_os_string().into_string();
    text.map_err(|path| {
        let path = path.to_string_lossy();
        Failure::usage(format!("the path `{path}` is not UTF-8"))
    })
}

/// There is no way to ask for it without changing it but this.
fn umask() -> Option<u32> {
    parse_umask(&fs::read_to_string("/proc/self/status").ok()?)
}

fn parse_umask(status: &str) -> Option<u32> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(line.trim(), 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_umask_is_octal() {
        assert_eq!(parse_umask("Name:\tx\nUmask:\t0077\n"), Some(0o077));
        assert_eq!(parse_umask("Name:\tx\n"), None);
    }

    #[test]
    fn a_directory_must_be_there() {
        let refused = here(Some(Path::new("/does/not/exist"))).unwrap_err();
        assert_eq!(refused.exit(), crate::failure::Exit::Usage);
        let file = env::current_exe().unwrap();
        assert!(here(Some(&file)).is_err());
        assert!(Path::new(&here(None).unwrap().cwd).is_absolute());
    }
}
