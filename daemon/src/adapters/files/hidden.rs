//! Which files no tool may read for the model: keys, tokens, histories, and Quire's own state.
//!
//! This keeps tools inside the daemon to what the sandbox lets commands see. Paths are compared
//! after links are resolved.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use quire_proto::home::Home;

/// Below the home directory.
const HOME: &[&str] = &[
    ".ssh",
    ".aws",
    ".gnupg",
    ".azure",
    ".kube",
    ".config/gcloud",
    ".config/gh",
    ".config/hub",
    ".config/op",
    ".config/sops",
    ".config/git/credentials",
    ".config/quire",
    ".docker/config.json",
    ".git-credentials",
    ".netrc",
    ".npmrc",
    ".yarnrc.yml",
    ".pypirc",
    ".pgpass",
    ".my.cnf",
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".gem/credentials",
    ".terraform.d/credentials.tfrc.json",
    ".vault-token",
    ".password-store",
    ".local/share/keyrings",
    ".local/state/quire",
    ".codex/auth.json",
    ".claude/.credentials.json",
    ".gemini/oauth_creds.json",
    ".bash_history",
    ".zsh_history",
    ".python_history",
    ".node_repl_history",
    ".psql_history",
    ".mysql_history",
    ".mozilla",
    ".config/google-chrome",
    ".config/chromium",
    "Library/Keychains",
];

/// For the super-user only, but the daemon may be run by one.
const SYSTEM: &[&str] = &["/etc/shadow", "/etc/gshadow", "/etc/sudoers", "/root/.ssh"];

/// Ends of names that hold no secrets though they begin with `.env`.
const SAMPLES: &[&str] = &["example", "sample", "template", "dist", "defaults"];

/// The files one session's tools must not read.
#[derive(Clone, Debug, Default)]
pub struct Hidden {
    paths: Vec<PathBuf>,
}

impl Hidden {
    /// The built-in list for a user with these home directories, and the policy's own paths.
    #[must_use]
    pub fn new(homes: &[PathBuf], policy: &[String]) -> Self {
        let mut paths: Vec<PathBuf> = SYSTEM.iter().map(PathBuf::from).collect();
        paths.extend(policy.iter().map(PathBuf::from));
        for home in homes {
            paths.extend(HOME.iter().map(|path| home.join(path)));
        }
        if let Ok(home) = Home::find() {
            paths.push(home.state().to_owned());
            paths.push(home.config_file());
        }
        let real = paths.iter().filter_map(|path| super::follow(path).ok());
        let real: Vec<PathBuf> = real.collect();
        paths.extend(real);
        paths.sort();
        paths.dedup();
        Self { paths }
    }

    /// Whether the file at this resolved path is hidden.
    #[must_use]
    pub fn hides(&self, path: &Path) -> bool {
        self.paths.iter().any(|hidden| path.starts_with(hidden))
            || path.file_name().is_some_and(is_env_file)
            || is_process_memory(path)
    }
}

/// `.env` and its variants, which hold secrets by custom.
fn is_env_file(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else {
        return false;
    };
    match name.strip_prefix(".env") {
        Some("") => true,
        Some(rest) => rest
            .strip_prefix('.')
            .is_some_and(|kind| !SAMPLES.iter().any(|sample| kind.ends_with(sample))),
        None => false,
    }
}

/// Files of the kernel's that show environments and memory of processes, the daemon's among them.
fn is_process_memory(path: &Path) -> bool {
    let mut parts = path.iter().skip(1);
    parts.next() == Some(OsStr::new("proc"))
        && parts.next().is_some_and(|process| {
            let bytes = process.as_encoded_bytes();
            process == "kcore" || bytes.first().is_some_and(u8::is_ascii_digit)
        })
}
