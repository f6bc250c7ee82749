//! Where a provider is: its URL checked, completed, and shown without its secrets.

use std::net::IpAddr;

use reqwest::Url;

use super::client::Reach;
use crate::pure::codec::Codec;

/// The URL to post to, or what is wrong with the base, as a predicate.
pub(super) fn full_url(base: &str, codec: Codec) -> Result<Url, String> {
    let mut url = Url::parse(base.trim()).map_err(|error| format!("is not a URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!(
            "has scheme `{}`; it must be http or https",
            url.scheme()
        ));
    }
    url.set_fragment(None);
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(codec.path());
    }
    Ok(url)
}

/// Which client reaches it.
pub(super) fn reach(url: &Url) -> Reach {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = match bare.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host == "localhost",
    };
    if loopback && url.scheme() == "http" {
        Reach::Loopback
    } else {
        Reach::Network
    }
}

/// Host and port: all of a URL that may be shown.
pub(super) fn site(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_the_wire_is_added_to_the_base() {
        let table = [
            ("http://a/v1", "http://a/v1/responses"),
            ("https://a/v1/", "https://a/v1/responses"),
            ("http://a", "http://a/responses"),
            (" http://a:1/v1?x=y#z ", "http://a:1/v1/responses?x=y"),
        ];
        for (base, want) in table {
            let url = full_url(base, Codec::Responses).unwrap();
            assert_eq!(url.as_str(), want, "for `{base}`");
        }
        let chat = full_url("http://a/v1", Codec::Chat).unwrap();
        assert_eq!(chat.path(), "/v1/chat/completions");
        for base in ["", "a/v1", "ftp://a", "file:///a", "http://"] {
            assert!(full_url(base, Codec::Chat).is_err(), "for `{base}`");
        }
    }

    #[test]
    fn only_this_machine_in_the_clear_is_loopback() {
        let table = [
            ("http://127.0.0.1:1/", Reach::Loopback),
            ("http://[::1]:1/", Reach::Loopback),
            ("http://LOCALHOST/", Reach::Loopback),
            ("https://127.0.0.1/", Reach::Network),
            ("http://127.0.0.1.example.com/", Reach::Network),
            ("http://10.0.0.1/", Reach::Network),
        ];
        for (url, want) in table {
            assert_eq!(reach(&Url::parse(url).unwrap()), want, "for {url}");
        }
    }
}
