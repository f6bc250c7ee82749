//! What a confined command may not read or change, as data: every entry with its reason.
//!
//! The Linux mount view, the Landlock-only fallback and the Seatbelt text are made from the same
//! tables, so that an entry is added in one place.

/// A name or path, and why it stands here.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// See the table's own words.
    pub name: &'static str,
    /// Why, for people.
    pub reason: &'static str,
}

const fn entry(name: &'static str, reason: &'static str) -> Entry {
    Entry { name, reason }
}

/// Directories that a confined command sees empty, but for what its profile names.
pub const REPLACED_TREES: &[Entry] = &[
    entry("/home", "people's files, keys and sockets"),
    entry("/root", "the superuser's files and keys"),
    entry("/run", "sockets of daemons, agents and desktops"),
    entry("/tmp", "other programs' files and sockets"),
    entry("/var/tmp", "other programs' files"),
    entry("/mnt", "other disks"),
    entry("/media", "other disks"),
    entry("/srv", "data of servers"),
    entry("/sys/fs", "control groups and file system controls"),
    entry("/sys/kernel", "kernel controls and debugging"),
    entry("/sys/firmware", "firmware variables"),
];

/// Paths outside those trees that can't be read.
pub const HIDDEN_PATHS: &[Entry] = &[
    entry("/etc/shadow", "password hashes"),
    entry("/etc/shadow-", "password hashes"),
    entry("/etc/gshadow", "password hashes"),
    entry("/etc/gshadow-", "password hashes"),
    entry("/etc/sudoers", "who may become whom"),
    entry("/etc/sudoers.d", "who may become whom"),
    entry("/etc/ssl/private", "private keys of this machine"),
    entry("/etc/krb5.keytab", "keys of this machine"),
    entry("/etc/wireguard", "keys of this machine"),
    entry("/etc/ssh/ssh_host_rsa_key", "key of this machine"),
    entry("/etc/ssh/ssh_host_ecdsa_key", "key of this machine"),
    entry("/etc/ssh/ssh_host_ed25519_key", "key of this machine"),
    entry(
        "/etc/NetworkManager/system-connections",
        "passwords of networks",
    ),
    entry("/var/lib/docker", "other containers"),
    entry("/var/lib/containerd", "other containers"),
    entry("/var/spool/cron", "commands that run by themselves"),
    entry("/var/mail", "mail"),
    entry("/var/spool/mail", "mail"),
];

/// Paths below a home that can't be read even where the home itself is visible, such as when the
/// home is the workspace.
pub const HIDDEN_IN_HOME: &[Entry] = &[
    entry(".ssh", "keys"),
    entry(".aws", "credentials"),
    entry(".azure", "credentials"),
    entry(".gnupg", "keys"),
    entry(".kube", "credentials"),
    entry(".docker", "credentials of registries"),
    entry(
        ".config",
        "credentials of many programs (gh, gcloud, agents)",
    ),
    entry(".password-store", "passwords"),
    entry(".local/share/keyrings", "passwords"),
    entry(".local/state/quire", "Quire's own sessions and token"),
    entry(".mozilla", "cookies"),
    entry(".claude", "sessions and credentials of another agent"),
    entry(".claude.json", "credentials of another agent"),
    entry(".codex", "sessions and credentials of another agent"),
    entry(".gemini", "sessions and credentials of another agent"),
    entry(".git-credentials", "passwords"),
    entry(".netrc", "passwords"),
    entry(".npmrc", "tokens of registries"),
    entry(".pypirc", "tokens of registries"),
    entry(".pgpass", "passwords"),
    entry(".my.cnf", "passwords"),
    entry(".terraformrc", "tokens"),
    entry(".terraform.d", "tokens"),
    entry(".vault-token", "token"),
    entry(".cargo/credentials", "tokens of registries"),
    entry(".cargo/credentials.toml", "tokens of registries"),
    entry(".gem/credentials", "tokens of registries"),
    entry(".bash_history", "commands typed, secrets among them"),
    entry(".zsh_history", "commands typed, secrets among them"),
    entry(".python_history", "commands typed, secrets among them"),
    entry(".node_repl_history", "commands typed, secrets among them"),
    entry(".psql_history", "commands typed, secrets among them"),
    entry(".mysql_history", "commands typed, secrets among them"),
    entry(
        ".local/share/fish/fish_history",
        "commands typed, secrets among them",
    ),
];

/// Files in a home that run code or redirect it later: read-only where the home is writable.
pub const PROTECTED_IN_HOME: &[Entry] = &[
    entry(".bashrc", "runs in the next shell"),
    entry(".bash_profile", "runs in the next shell"),
    entry(".bash_login", "runs in the next shell"),
    entry(".bash_logout", "runs when a shell ends"),
    entry(".profile", "runs in the next shell"),
    entry(".zshrc", "runs in the next shell"),
    entry(".zshenv", "runs in the next shell"),
    entry(".zprofile", "runs in the next shell"),
    entry(".gitconfig", "names programs that git runs"),
    entry(".local/bin", "programs found by name"),
    entry("bin", "programs found by name"),
];

/// Directories of tools below a home that a command may read and run.
pub const TOOLS_IN_HOME: &[Entry] = &[
    entry(
        ".cargo",
        "Rust's tools and crates; credentials in it stay hidden",
    ),
    entry(".rustup", "Rust's compilers"),
    entry(".pyenv", "Python versions"),
    entry(".local/bin", "programs found by name"),
    entry(".local/lib", "Python packages of the user"),
    entry(".local/share/uv", "Python versions of uv"),
    entry(".local/share/pnpm", "Node packages"),
    entry(".nvm", "Node versions"),
    entry(".volta", "Node versions"),
    entry(".fnm", "Node versions"),
    entry(".bun", "the Bun runtime"),
    entry(".deno", "the Deno runtime"),
    entry(".npm-global", "Node programs"),
    entry(".rbenv", "Ruby versions"),
    entry(".sdkman", "Java versions"),
    entry(".asdf", "versions of many tools"),
    entry(".local/share/mise", "versions of many tools"),
    entry(".nix-profile", "programs of Nix"),
    entry("go", "Go programs and modules"),
    entry(".gitconfig", "name and address for commits"),
    entry(".m2/repository", "Java libraries"),
];

/// Variables that name a directory of tools.
pub const TOOL_VARIABLES: &[&str] = &[
    "CARGO_HOME",
    "RUSTUP_HOME",
    "PYENV_ROOT",
    "NVM_DIR",
    "VOLTA_HOME",
    "FNM_DIR",
    "BUN_INSTALL",
    "GOPATH",
    "GOROOT",
    "JAVA_HOME",
    "RBENV_ROOT",
    "SDKMAN_DIR",
    "ASDF_DIR",
    "ASDF_DATA_DIR",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "PNPM_HOME",
];

/// Paths below replaced trees that the system itself needs.
pub const SYSTEM_IN_TREES: &[Entry] = &[
    entry("/run/current-system", "the programs of NixOS"),
    entry("/run/booted-system", "the programs of NixOS"),
    entry("/run/opengl-driver", "the libraries of NixOS"),
    entry("/run/wrappers", "the programs of NixOS"),
];

/// Whether a name is one file or a directory of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A file.
    File,
}

/// An entry of a workspace that is read-only, also when it does not exist yet.
#[derive(Clone, Copy, Debug)]
pub struct Protected {
    /// Name in the workspace's top directory. Below it, what exists is protected too.
    pub name: &'static str,
    /// What it is when it exists.
    pub kind: Kind,
    /// Why.
    pub reason: &'static str,
}

const fn directory(name: &'static str, reason: &'static str) -> Protected {
    Protected {
        name,
        kind: Kind::Directory,
        reason,
    }
}

const fn file(name: &'static str, reason: &'static str) -> Protected {
    Protected {
        name,
        kind: Kind::File,
        reason,
    }
}

/// Names in a workspace that configure agents and editors outside the sandbox. `.git` has a table
/// of its own.
pub const PROTECTED_NAMES: &[Protected] = &[
    directory(
        ".quire",
        "Quire's own configuration: could widen the policy",
    ),
    directory(".agents", "skills and commands that agents run"),
    directory(".claude", "hooks and commands that another agent runs"),
    directory(".codex", "configuration of another agent"),
    directory(".gemini", "configuration of another agent"),
    directory(".cursor", "configuration of another agent"),
    directory(".vscode", "tasks that an editor runs"),
    directory(".idea", "tasks that an editor runs"),
    directory(".devcontainer", "commands that an editor runs"),
    directory(".husky", "hooks that git runs"),
    file(".mcp.json", "commands that agents run"),
    file(".envrc", "commands that direnv runs"),
];

/// Entries of a git directory that make git run programs or look elsewhere. The rest of it stays
/// writable, so that `git commit` works.
pub const PROTECTED_IN_GIT: &[Protected] = &[
    directory("hooks", "programs that git runs"),
    directory("info", "attributes that name filters"),
    directory(
        "modules",
        "git directories of submodules, each with hooks and config",
    ),
    directory(
        "worktrees",
        "git directories of worktrees, each with its own config",
    ),
    file("config", "names programs: fsmonitor, pager, filters, ssh"),
    file("config.worktree", "as config"),
    file(
        "commondir",
        "would make git read config and hooks from elsewhere",
    ),
];

/// What a `commondir` must hold to mean nothing: git reads "." as this very directory.
pub const NEUTRAL_COMMONDIR: &str = ".\n";

/// Whether a file of this name holds secrets of a project. Templates without secrets do not count.
#[must_use]
pub fn is_dotenv(name: &str) -> bool {
    const TEMPLATES: &[&str] = &[
        "example", "sample", "template", "dist", "defaults", "schema",
    ];
    match name.strip_prefix(".env") {
        Some("") => true,
        Some(rest) => rest.strip_prefix('.').is_some_and(|kind| {
            kind.rsplit('.')
                .next()
                .is_some_and(|last| !TEMPLATES.contains(&last))
        }),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_projects_are_told_from_templates() {
        let table = [
            (".env", true),
            (".env.local", true),
            (".env.production.local", true),
            (".env.example", false),
            (".env.test.sample", false),
            (".envrc", false),
            ("env", false),
            ("x.env", false),
        ];
        for (name, want) in table {
            assert_eq!(is_dotenv(name), want, "for `{name}`");
        }
    }

    #[test]
    fn every_entry_has_a_reason_and_the_right_kind_of_path() {
        for entry in REPLACED_TREES
            .iter()
            .chain(HIDDEN_PATHS)
            .chain(SYSTEM_IN_TREES)
        {
            assert!(
                entry.name.starts_with('/') && !entry.reason.is_empty(),
                "{entry:?}"
            );
        }
        for entry in HIDDEN_IN_HOME
            .iter()
            .chain(PROTECTED_IN_HOME)
            .chain(TOOLS_IN_HOME)
        {
            assert!(
                !entry.name.starts_with('/') && !entry.reason.is_empty(),
                "{entry:?}"
            );
        }
        for entry in PROTECTED_NAMES.iter().chain(PROTECTED_IN_GIT) {
            assert!(
                !entry.name.contains('/') && !entry.reason.is_empty(),
                "{entry:?}"
            );
        }
    }
}
