//! The Quire daemon, layer by layer: each imports only from those before it.

pub mod pure;

pub mod ports;

pub mod adapters;

pub mod session;

pub mod edge;

pub use edge::run;
