//! What the daemon and the `quire-sandbox` program share: profiles and job specifications, the
//! tables of what is protected and hidden, the files a keeper leaves behind and the frames it
//! speaks.
//!
//! Nothing here confines anything: that is the program's doing, in modules of its own.

pub mod environment;
pub mod job;
pub mod probe;
pub mod record;
pub mod remnant;
pub mod report;
pub mod seatbelt;
pub mod secrets;
pub mod spec;
pub mod tables;
pub mod wire;
