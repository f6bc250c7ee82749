//! How the daemon touches the world: storage, processes, networks. Adapters import `pure` and
//! `ports` and never the session or the edge.

pub mod config;
pub mod guides;
pub mod models;
pub mod small_file;
