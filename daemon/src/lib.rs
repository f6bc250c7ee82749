//! The Quire daemon, layer by layer: each imports only from those before it.

pub mod adapters;
pub mod ports;
pub mod pure;
