//! The HTTP clients, shared by all models of the process so that connections are too.
//!
//! Each is built when first used: reading the machine's certificates costs milliseconds that a model
//! on this very machine does not need.

use std::{error::Error, sync::OnceLock, time::Duration};

use reqwest::{Client, ClientBuilder, redirect};

use crate::pure::codec::fault;

const CONNECT: Duration = Duration::from_secs(10);

/// Where a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// `http` to this machine: no certificates, and no proxy, which could not reach it.
    Loopback,
    /// Anywhere else: the machine's certificates, proxies from the environment.
    Network,
}

static LOOPBACK: OnceLock<Client> = OnceLock::new();
static NETWORK: OnceLock<Client> = OnceLock::new();

/// The client for servers there.
///
/// # Errors
///
/// The cause, when TLS or the resolver can't be set up; the next caller tries again.
pub(super) async fn client(reach: Reach) -> Result<&'static Client, String> {
    let shared = match reach {
        Reach::Loopback => &LOOPBACK,
        Reach::Network => &NETWORK,
    };
    if let Some(client) = shared.get() {
        return Ok(client);
    }
    let built = tokio::task::spawn_blocking(move || build(reach)).await;
    let built = built.map_err(|error| error.to_string())?;
    let client = built.map_err(innermost)?;
    // Whoever builds at the same time may be first: then that one serves.
    Ok(shared.get_or_init(|| client))
}

/// What really went wrong: the libraries wrap it several times. Without the URL, which may hold a
/// secret.
pub(super) fn innermost(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    fault::one_line(&cause.to_string())
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
