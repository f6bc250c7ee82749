//! What to run and with which rights: plain data, written by the daemon, applied by a keeper.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

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

/// One command to run under a keeper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// The job's directory. The keeper makes it; that it exists means the job was started.
    pub directory: PathBuf,
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
    /// What the command may do.
    pub profile: Profile,
    /// What the command may use.
    pub limits: Limits,
}
