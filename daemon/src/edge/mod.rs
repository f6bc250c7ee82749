//! Where the daemon meets the rest of the world: its own life, its command line, its gRPC services.

pub mod oneshot;
