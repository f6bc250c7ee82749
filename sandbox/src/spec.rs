//! What to run and with which rights: plain data, written by the daemon, applied by a keeper.

use std::{collections::BTreeMap, fmt, path::PathBuf, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// Where a command may write and what it may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Writes nowhere but in scratch space of its own.
    ReadOnly,
    /// Also writes in [`Profile::workspace`] and [`Profile::writable`].
    WorkspaceWrite,
    /// No confinement; the process tree is still killed as a whole.
    FullAccess,
}

/// The rights of one command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The mode the rest refines.
    pub mode: Mode,
    /// Absolute; writable in [`Mode::WorkspaceWrite`] except for its protected entries.
    pub workspace: PathBuf,
    /// Further writable directories, absolute.
    pub writable: Vec<PathBuf>,
    /// Paths that can't be read, absolute, besides the built-in ones. Quire's own state and socket
    /// directories are always among them.
    pub hidden: Vec<PathBuf>,
    /// Hosts that may be reached; empty = no network.
    pub network: Vec<String>,
    /// Layers without which nothing is run.
    pub require: Vec<Layer>,
    /// An existing directory, absolute, that holds the command's private `/tmp` and home between the
    /// commands of one session. `None` = fresh memory for each command.
    #[serde(default)]
    pub scratch: Option<PathBuf>,
}

/// One independent means of confinement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// User, mount, process, IPC, UTS and network namespaces with a mount view of their own.
    Namespaces,
    /// Landlock rules over the file system.
    Landlock,
    /// A system call filter.
    Seccomp,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadOnly => "read-only",
            Self::WorkspaceWrite => "workspace-write",
            Self::FullAccess => "full-access",
        })
    }
}

/// A word that names no [`Mode`] or [`Layer`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is not a {what}: use {choices}")]
pub struct UnknownWord {
    word: String,
    what: &'static str,
    choices: &'static str,
}

impl FromStr for Mode {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let modes = [Self::ReadOnly, Self::WorkspaceWrite, Self::FullAccess];
        let found = modes.into_iter().find(|mode| mode.to_string() == word);
        found.ok_or_else(|| UnknownWord {
            word: word.to_owned(),
            what: "mode",
            choices: "read-only, workspace-write or full-access",
        })
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Namespaces => "namespaces",
            Self::Landlock => "landlock",
            Self::Seccomp => "seccomp",
        })
    }
}

impl Layer {
    /// Every layer, in the order they are applied.
    pub const ALL: [Self; 3] = [Self::Namespaces, Self::Landlock, Self::Seccomp];
}

impl FromStr for Layer {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let found = Self::ALL
            .into_iter()
            .find(|layer| layer.to_string() == word);
        found.ok_or_else(|| UnknownWord {
            word: word.to_owned(),
            what: "layer",
            choices: "namespaces, landlock or seccomp",
        })
    }
}

/// Limits of one command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Longest run, from the command's start; then the tree is killed. `None` = no limit.
    pub wall: Option<Duration>,
    /// Most bytes of output kept; the middle is dropped and counted.
    pub output_bytes: u64,
    /// Most processes at once.
    pub processes: u64,
    /// Largest file written, in bytes.
    pub file_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            wall: None,
            output_bytes: 64 << 20,
            processes: 1024,
            file_bytes: 16 << 30,
        }
    }
}

/// Size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Characters in a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

/// What a command without a terminal reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stdin {
    /// Nothing: many programs read a pipe to its end before they do anything else.
    #[default]
    Null,
    /// A pipe that is written to until it is closed.
    Pipe,
}

/// What a job lives with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lifetime {
    /// The turn that started it.
    Turn,
    /// Its session.
    #[default]
    Session,
    /// Nothing but its own time: [`Limits::wall`].
    Detached,
}

/// Whose a job is and what it is shown as. The keeper only writes it down, so that a job's directory
/// explains itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// The session it was started for.
    #[serde(default)]
    pub session: String,
    /// The command as people are shown it.
    #[serde(default)]
    pub command: String,
    /// What it lives with.
    #[serde(default)]
    pub lifetime: Lifetime,
}

/// One command to run under a keeper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// The job's directory. The keeper makes it; that it exists means the job was started.
    pub directory: PathBuf,
    /// Whose it is. A daemon of an earlier version does not say.
    #[serde(default)]
    pub label: Label,
    /// Program and arguments; never empty. The program is looked up in the environment's `PATH`.
    pub argv: Vec<String>,
    /// Absolute.
    pub cwd: PathBuf,
    /// The whole environment of the command, already scrubbed.
    pub environment: BTreeMap<String, String>,
    /// File mode creation mask.
    pub umask: u32,
    /// A terminal of this size instead of pipes.
    pub pty: Option<Size>,
    /// Standard input when there is no terminal.
    #[serde(default)]
    pub stdin: Stdin,
    /// What the command may do.
    pub profile: Profile,
    /// What the command may use.
    pub limits: Limits,
}
