//! The HTTP clients, shared by all models of the process so that connections are too.
//!
//! Each is built when first used: reading the machine's certificates costs milliseconds that a model
//! on this very machine does not need.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use reqwest::{Client, ClientBuilder, redirect};

const CONNECT: Duration = Duration::from_secs(10);

/// Where a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// `http` to this machine: no certificates, and no proxy, which could not reach it.
    Loopback,
    /// Anywhere else: the machine's certificates, proxies from the environment.
    Network,
}

static LOOPBACK: Mutex<Option<Client>> = Mutex::new(None);
static NETWORK: Mutex<Option<Client>> = Mutex::new(None);

/// The client for servers there.
pub(super) fn client(reach: Reach) -> Result<Client, reqwest::Error> {
    let shared = match reach {
        Reach::Loopback => &LOOPBACK,
        Reach::Network => &NETWORK,
    };
    // Poisoned only by a panic while building, which leaves nothing half-made.
    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(client) = &*shared {
        return Ok(client.clone());
    }
    let client = build(reach)?;
    *shared = Some(client.clone());
    Ok(client)
}

fn build(reach: Reach) -> Result<Client, reqwest::Error> {
    // Fails only when the process has a provider already, which then serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder()
        .user_agent(concat!("quire/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        // Neither key nor prompt goes anywhere but where the configuration says.
        .redirect(redirect::Policy::none())
        // The turn decides what is sent again.
        .retry(reqwest::retry::never());
    match reach {
        Reach::Loopback => local(builder).build(),
        Reach::Network => builder.build(),
    }
}

fn local(builder: ClientBuilder) -> ClientBuilder {
    builder.no_proxy().tls_certs_only([])
}
