//! The protocol between a Quire client and its daemon.
//!
//! [`v1`] is the wire: what `quire/v1/*.proto` describes, generated at build time. Beside it stand
//! strict types for what must not be mixed up ([`id`]), and the one place that knows where a host
//! keeps its files ([`home`]), because client and daemon must agree on it before they can talk.
//!
//! This crate never does anything: no connection is opened and no process started here.

pub mod home;
pub mod id;
mod version;

pub use version::{Standing, protocol, standing, version};

/// The wire types and services of package `quire.v1`.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod v1 {
    tonic::include_proto!("quire.v1");

    /// The compiled schema, for gRPC reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] =
        include_bytes!(concat!(env!("OUT_DIR"), "/quire.v1.binpb"));
}

/// Metadata key of the token that proves a client may read the state directory.
pub const TOKEN_KEY: &str = "quire-token";

/// Metadata key of the client id that `Hello` handed out.
pub const CLIENT_KEY: &str = "quire-client";

/// `ErrorInfo.domain` of every error this daemon answers with.
pub const ERROR_DOMAIN: &str = "quire.v1";
