//! What the ports look like on this machine: files, tools, workspaces.

pub mod files;
pub mod tools;
pub mod workspace;
