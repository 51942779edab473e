//! Limits on connections.

use super::address::{Address, Network};
use super::config::LimitsConfig;
use super::count::{Count, Counted};
use super::rate::{Rate, per_second};
use crate::metrics as names;
use metrics::counter;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

/// Limits the connections of this node, of an address and of a network, and the handshakes of an address.
pub(crate) struct ConnectionLimits {
    all: Arc<Count<()>>,
    by_address: Arc<Count<Address>>,
    by_network: Arc<Count<Network>>,
    handshakes: Rate<Address>,
}

/// A connection's place among those that are allowed, until it is dropped.
pub(crate) struct Place {
    _of_all: Counted<()>,
    /// `None` for loopback.
    _of_address: Option<(Counted<Address>, Counted<Network>)>,
}

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The node has too many connections.
    Node,
    /// The client's address or network has too many.
    Address,
    /// The client's address has had too many handshakes. The next may come after this time.
    Rate(Duration),
}

impl ConnectionLimits {
    pub(crate) fn new(config: &LimitsConfig) -> Self {
        let burst = u32::try_from(config.connections_per_address).unwrap_or(u32::MAX);
        Self {
            all: Count::new(config.connections),
            by_address: Count::new(config.connections_per_address),
            by_network: Count::new(config.connections_per_network),
            handshakes: Rate::new(per_second(config.handshakes, burst)),
        }
    }

    /// A place for a connection from `address`.
    pub(crate) fn admit(&self, address: IpAddr) -> Result<Place, Refusal> {
        let of_address = Address::limited(address).map(|address| self.admit_address(address)).transpose()?;
        let of_all = self.all.add(()).ok_or_else(|| refused("connections", Refusal::Node))?;
        Ok(Place { _of_all: of_all, _of_address: of_address })
    }

    fn admit_address(&self, address: Address) -> Result<(Counted<Address>, Counted<Network>), Refusal> {
        let (handshakes, by_address, by_network) = ("handshakes", "connections_per_address", "connections_per_network");
        self.handshakes.take(&address, NonZeroU32::MIN).map_err(|wait| refused(handshakes, Refusal::Rate(wait)))?;
        let of_address = self.by_address.add(address).ok_or_else(|| refused(by_address, Refusal::Address))?;
        let of_network = self.by_network.add(address.network()).ok_or_else(|| refused(by_network, Refusal::Address))?;
        Ok((of_address, of_network))
    }
}

fn refused(limit: &'static str, refusal: Refusal) -> Refusal {
    counter!(names::REFUSED_SESSIONS, "limit" => limit).increment(1);
    refusal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(config: LimitsConfig) -> ConnectionLimits {
        ConnectionLimits::new(&config)
    }

    fn from(limits: &ConnectionLimits, addresses: &[&str]) -> Vec<Result<Place, Refusal>> {
        addresses.iter().map(|address| limits.admit(address.parse().unwrap())).collect()
    }

    fn refusals(admitted: &[Result<Place, Refusal>]) -> Vec<Option<Refusal>> {
        admitted.iter().map(|admitted| admitted.as_ref().err().copied()).collect()
    }

    #[test]
    fn each_limit_holds_and_places_become_free() {
        let limits = limits(LimitsConfig {
            connections: 5,
            connections_per_address: 2,
            connections_per_network: 3,
            handshakes: u32::MAX,
            ..LimitsConfig::default()
        });
        let one = from(&limits, &["192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"]);
        let (none, there) = (None, Some(Refusal::Address));
        assert_eq!(refusals(&one), [none, none, there, none, there, there]);
        let others = from(&limits, &["2001:db8::1", "2001:db8::2", "198.51.100.1"]);
        assert_eq!(refusals(&others), [none, none, Some(Refusal::Node)]);
        drop(one);
        assert_eq!(refusals(&from(&limits, &["192.0.2.1", "198.51.100.1", "2001:db8::3"])), [none, none, there]);
        drop(others);
        assert_eq!((limits.by_address.keys(), limits.by_network.keys(), limits.all.keys()), (0, 0, 0));
    }

    #[test]
    fn handshakes_of_an_address_are_limited_and_others_are_not_affected() {
        let limits = limits(LimitsConfig { connections_per_address: 3, handshakes: 1, ..LimitsConfig::default() });
        let mut refused = false;
        for _ in 0..4 {
            // Each is over at once.
            refused = matches!(limits.admit("192.0.2.1".parse().unwrap()), Err(Refusal::Rate(_)));
        }
        assert!(refused);
        assert!(limits.admit("192.0.2.2".parse().unwrap()).is_ok());
        let loopback = from(&limits, &["127.0.0.1"; 100]);
        assert!(loopback.iter().all(Result::is_ok));
    }
}
