//! Clients behind proxies: which proxies are believed, and what they report about a client.

mod hops;
#[cfg(test)]
mod tests;

use axum::http::HeaderMap;
use hops::{Hop, forwarded, x_forwarded};
use ipnet::IpNet;
use serde::Deserialize;
use std::net::IpAddr;
use std::sync::Arc;

/// The client's end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClientEnd {
    /// The address, never an IPv4 address in IPv6 form.
    pub(crate) address: IpAddr,
    /// Whether the client connects over TLS.
    pub(crate) secure: bool,
}

/// The header in which proxies report the addresses of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, with `X-Forwarded-Proto`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// The proxies that are believed. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Proxies {
    trusted: Arc<[IpNet]>,
    header: ForwardedHeader,
}

impl Proxies {
    /// Expects networks that [`network`] accepts, and skips others.
    pub(crate) fn new(trusted: &[String], header: ForwardedHeader) -> Self {
        Self { trusted: trusted.iter().filter_map(|text| network(text)).collect(), header }
    }

    /// Whether the program at this address is a believed proxy.
    pub(crate) fn trust(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }

    /// The client whose request a believed proxy forwards: the last reported address that is not a believed proxy's.
    /// `proxy` is the nearest proxy.
    pub(crate) fn client(&self, proxy: ClientEnd, headers: &HeaderMap) -> ClientEnd {
        match self.header {
            ForwardedHeader::XForwardedFor => self.first_client(proxy, x_forwarded(headers)),
            ForwardedHeader::Forwarded => self.first_client(proxy, forwarded(headers)),
        }
    }

    /// If a proxy does not report an address, what lies behind it is unknown, and it counts as the client.
    fn first_client(&self, proxy: ClientEnd, hops: impl Iterator<Item = Hop>) -> ClientEnd {
        let mut client = proxy;
        for hop in hops {
            client.secure = hop.secure.unwrap_or(client.secure);
            let Some(address) = hop.address else { break };
            client.address = address;
            if !self.trust(address) {
                break;
            }
        }
        client
    }
}

/// A network, such as `10.0.0.0/8`, or a single address.
pub(crate) fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| Some(IpNet::from(text.parse::<IpAddr>().ok()?)))
}
