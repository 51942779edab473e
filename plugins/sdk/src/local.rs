//! Whether a request comes from this machine.

use axum::extract::{ConnectInfo, Request};
use axum::http::header;
use axum::http::uri::Authority;
use std::net::{IpAddr, SocketAddr};

/// Headers that proxies add. The caller of such a request is a proxy, whose own caller may be anywhere.
const PROXY_HEADERS: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/// Whether the caller's address (its [`ConnectInfo`]) and the requested host name are those of this machine. The name
/// is checked because of DNS rebinding: a page of any site can make a browser on this machine call a name of its own
/// that resolves to this machine.
#[must_use]
pub fn is_local(request: &Request) -> bool {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let forwarded = PROXY_HEADERS.iter().any(|name| request.headers().contains_key(*name));
    !forwarded
        && peer.is_some_and(|peer| peer.0.ip().to_canonical().is_loopback())
        && host.is_some_and(is_loopback_name)
}

/// Whether a Host header names this machine: `localhost` or a loopback address such as `127.0.0.1` or `[::1]`, with any
/// port.
fn is_loopback_name(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
