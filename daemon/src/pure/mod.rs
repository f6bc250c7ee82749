//! Decisions without effects: no clock, no disk, no socket. A test reads these sources and fails
//! when one of them names `tokio`, `std::fs`, `std::net` or a clock, or imports from a layer above.

pub mod archive;
pub mod catalogue;
pub mod changed;
pub mod codec;
pub mod config;
pub mod cut;
pub mod fork;
pub mod job_end;
pub mod news;
pub mod outcome;
pub mod patch;
pub mod policy;
pub mod prompt;
pub mod request;
pub mod retry;
pub mod sample;
pub mod script;
pub mod search;
pub mod secrets;
pub mod title;
pub mod transcript;
pub mod turn;
