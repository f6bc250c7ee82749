//! Decisions without effects: no clock, no disk, no socket. A test reads these sources and fails
//! when one of them names `tokio`, `std::fs`, `std::net` or a clock, or imports from a layer above.

pub mod cut;
pub mod sample;
