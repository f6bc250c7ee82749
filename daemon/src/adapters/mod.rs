//! What the ports ask for, done with real files, sockets and processes.

pub mod model;
