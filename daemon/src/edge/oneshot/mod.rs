//! What `quired` does for a single command line, without becoming a daemon.

pub mod config;
pub mod doctor;
pub mod patch;
mod world;
