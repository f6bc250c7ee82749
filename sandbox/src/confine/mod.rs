//! Confinement on Linux: from a profile to a plan, and from the plan to a running, confined tree of
//! processes.
//!
//! [`plan`] decides, looking at the file system but changing nothing. [`tree`] starts the command:
//! it forks a *warden*, which enters new namespaces, builds the mount view ([`mounts`]), forks the
//! command and stays as the first process of the tree; the command's process puts on the Landlock
//! rules ([`fence`]) and the system call filter ([`filter`]) and turns into the command. Where
//! namespaces can't be had, the same runs without them and says so.

pub(crate) mod cgroup;
pub(crate) mod expendable;
pub(crate) mod fence;
pub(crate) mod filter;
pub(crate) mod mounts;
pub(crate) mod placeholder;
pub(crate) mod plan;
pub(crate) mod scan;
pub(crate) mod sys;
pub(crate) mod tree;
pub(crate) mod warden;
