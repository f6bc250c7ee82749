//! How the daemon touches the world: storage, processes, networks, files. Adapters import `pure` and
//! `ports` and never the session or the edge.

pub mod files;
pub mod growing;
pub mod store;
pub mod tools;
pub mod workspace;
