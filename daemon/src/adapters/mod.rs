//! How the daemon touches the world: storage, processes, networks. Adapters import `pure` and
//! `ports` and never the session or the edge.

pub mod growing;
pub mod store;
//! What the ports look like on this machine: files, tools, workspaces.

pub mod files;
