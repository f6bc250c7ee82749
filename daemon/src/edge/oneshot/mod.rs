//! What `quired` does for a single command line, without becoming a daemon.

pub mod patch;
pub mod config;
pub mod doctor;
mod world;
