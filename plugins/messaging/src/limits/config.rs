//! `[plugins.messaging.limits]`.

use greyhound_sdk::config::{ByteSize, Problems};
use serde::Deserialize;

/// `[plugins.messaging.limits]`. An address is an IPv4 address or an IPv6 network /64; a network is an IPv4 network /24
/// or an IPv6 network /48. The limits of addresses, networks and handshakes do not apply to loopback.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// The maximum number of connections.
    pub connections: usize,
    /// The maximum number of connections from one address.
    pub connections_per_address: usize,
    /// The maximum number of connections from one network.
    pub connections_per_network: usize,
    /// The maximum number of sockets that one user authenticates.
    pub sockets_per_user: usize,
    /// Handshakes a second from one address. As many as `connections_per_address` may come at once.
    pub handshakes: u32,
    /// Packets a second that a connection may send. A user may send 4 times as many, an address 50 times as many.
    pub packets: u32,
    /// Bytes a second that a connection may send. A user may send 4 times as many, an address 50 times as many.
    pub bytes: ByteSize,
    /// Bytes that may wait for one client. Further packets to it are dropped.
    pub queue: ByteSize,
    /// Memory of what waits for all clients. Beyond it, the connections with the longest queues are closed.
    pub queues: ByteSize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            connections: 200_000,
            connections_per_address: 10_000,
            connections_per_network: 40_000,
            sockets_per_user: 10_000,
            handshakes: 100,
            packets: 1000,
            bytes: ByteSize::mb(2),
            queue: ByteSize::mib(16),
            queues: ByteSize::gib(1),
        }
    }
}

impl LimitsConfig {
    pub(crate) fn check(&self, problems: &mut Problems) {
        let counts = [
            ("limits.connections", self.connections),
            ("limits.connections_per_address", self.connections_per_address),
            ("limits.connections_per_network", self.connections_per_network),
            ("limits.sockets_per_user", self.sockets_per_user),
            ("limits.handshakes", self.handshakes as usize),
            ("limits.packets", self.packets as usize),
        ];
        for (key, _) in counts.into_iter().filter(|(_, value)| *value == 0) {
            problems.report(key, "expected at least 1");
        }
        if !(ByteSize::kb(1)..=ByteSize::gb(1)).contains(&self.bytes) {
            problems.report("limits.bytes", "expected \"1kB\" to \"1GB\"");
        }
        if self.queue < ByteSize::kb(1) {
            problems.report("limits.queue", "expected at least \"1kB\"");
        }
        if self.queues < self.queue {
            problems.report("limits.queues", "expected at least as much as limits.queue");
        }
    }
}
