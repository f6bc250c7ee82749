//! How the daemon touches the world: storage, processes, networks. Adapters import `pure` and
//! `ports` and never the session or the edge.

pub mod jobs;
pub mod tools;
