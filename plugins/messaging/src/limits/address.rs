//! The parts of the network that limits apply to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What one subscriber has: an IPv4 address, or an IPv6 network /64, within which a client chooses its address freely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Address(IpAddr);

/// What one organisation has, at least: an IPv4 network /24, or an IPv6 network /48.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Network(IpAddr);

impl Address {
    /// `None` for loopback, which no limit applies to: a proxy on this machine stands for all of its clients.
    pub(crate) fn limited(address: IpAddr) -> Option<Self> {
        let address = address.to_canonical();
        (!address.is_loopback()).then(|| Self(masked(address, 32, 64)))
    }

    pub(super) fn network(self) -> Network {
        Network(masked(self.0, 24, 48))
    }
}

/// The first bits of an address.
fn masked(address: IpAddr, v4_bits: u32, v6_bits: u32) -> IpAddr {
    match address {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & (u32::MAX << (32 - v4_bits))).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << (128 - v6_bits))).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_belongs_to_a_subscriber_and_a_network() {
        let of = |text: &str| Address::limited(text.parse().unwrap()).unwrap();
        assert_eq!(of("2001:db8:1:2::3"), of("2001:db8:1:2:ffff::"));
        assert_ne!(of("2001:db8:1:2::3"), of("2001:db8:1:3::3"));
        assert_eq!(of("2001:db8:1:2::").network(), of("2001:db8:1:3::").network());
        assert_ne!(of("2001:db8:1::").network(), of("2001:db8:2::").network());
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("192.0.2.1").network(), of("192.0.2.255").network());
        assert_ne!(of("192.0.2.1").network(), of("192.0.3.1").network());
    }

    #[test]
    fn loopback_is_not_limited() {
        for loopback in ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(Address::limited(loopback.parse().unwrap()), None);
        }
    }
}
