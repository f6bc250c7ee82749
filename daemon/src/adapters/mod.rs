//! How the daemon touches the world: storage, processes, networks, files. Adapters import `pure` and
//! `ports` and never the session or the edge.

pub mod briefing;
pub mod config;
pub mod configured;
pub mod files;
pub mod growing;
pub mod guides;
pub mod jobs;
pub mod model;
pub mod models;
pub mod notify;
pub mod rules;
#[cfg(test)]
pub(crate) mod small_disk;
pub mod small_file;
pub mod store;
pub mod tools;
pub mod workspace;
pub mod worlds;
