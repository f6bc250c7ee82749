//! How the daemon touches the world: storage, processes, networks, files. Adapters import `pure` and
//! `ports` and never the session or the edge.

pub mod files;
pub mod tools;
pub mod workspace;
pub mod growing;
pub mod store;
//! What the ports ask for, done with real files, sockets and processes.

pub mod model;
//! How the daemon touches the world: storage, processes, networks. Adapters import `pure` and
//! `ports` and never the session or the edge.

pub mod config;
pub mod guides;
pub mod models;
pub mod small_file;
//! How the daemon touches the world: storage, processes, networks. Adapters import `pure` and
//! `ports` and never the session or the edge.

pub mod jobs;
pub mod tools;
