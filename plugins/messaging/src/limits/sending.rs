//! Limits on what clients send.
//!
//! What a client sends is paid with time: at the limit of packets each packet has its part of a second, and at the limit
//! of bytes each byte. A connection earns a second each second.

use super::address::Address;
use super::config::LimitsConfig;
use super::rate::{Rate, per_second, taken};
use governor::clock::MonotonicClock;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

/// What a connection may save up: what it sends after it was silent, or offline.
const SAVED_MAX_MS: u32 = 10_000;
/// A user may send as much as this many connections.
const CONNECTIONS_PER_USER: u32 = 4;
/// An address may send as much as this many connections.
const CONNECTIONS_PER_ADDRESS: u32 = 50;
/// Less is paid later, because each payment has a cost.
const PAYMENT_MIN_MS: u32 = 10;
const NANOS_PER_SECOND: u64 = 1_000_000_000;
const NANOS_PER_MS: u64 = 1_000_000;

/// Limits what connections, users and addresses send.
pub(crate) struct SendLimits {
    packet_ns: u64,
    byte_ns: u64,
    users: Rate<Arc<str>>,
    addresses: Rate<Address>,
}

/// What a connection owes for what its client has sent, to each limit.
pub(crate) struct Debt {
    /// Too little to be paid.
    rest_ns: u64,
    to_connection_ms: u32,
    to_user_ms: u32,
    to_address_ms: u32,
    connection: RateLimiter<NotKeyed, InMemoryState, MonotonicClock>,
}

/// The client must wait before it may send more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) time: Duration,
    /// Whether the limit of its connection or its user is reached, not that of its address.
    pub(crate) is_own: bool,
}

impl SendLimits {
    pub(crate) fn new(config: &LimitsConfig) -> Self {
        Self {
            packet_ns: NANOS_PER_SECOND / u64::from(config.packets.max(1)),
            byte_ns: NANOS_PER_SECOND / config.bytes.as_u64().max(1),
            users: Rate::new(allowance(CONNECTIONS_PER_USER)),
            addresses: Rate::new(allowance(CONNECTIONS_PER_ADDRESS)),
        }
    }
}

/// The milliseconds of so many connections.
fn allowance(connections: u32) -> Quota {
    per_second(1000 * connections, SAVED_MAX_MS * connections)
}

impl Default for Debt {
    fn default() -> Self {
        let connection = RateLimiter::direct_with_clock(allowance(1), MonotonicClock);
        Self { rest_ns: 0, to_connection_ms: 0, to_user_ms: 0, to_address_ms: 0, connection }
    }
}

impl Debt {
    /// The client has sent this.
    pub(crate) fn add(&mut self, packets: u32, bytes: usize, limits: &SendLimits) {
        self.rest_ns += u64::from(packets) * limits.packet_ns + bytes as u64 * limits.byte_ns;
        let due_ms = u32::try_from(self.rest_ns / NANOS_PER_MS).unwrap_or(u32::MAX);
        if due_ms >= PAYMENT_MIN_MS {
            self.rest_ns -= u64::from(due_ms) * NANOS_PER_MS;
            for debt in [&mut self.to_connection_ms, &mut self.to_user_ms, &mut self.to_address_ms] {
                *debt = debt.saturating_add(due_ms);
            }
        }
    }

    /// Whether there is something to pay.
    pub(crate) fn is_due(&self) -> bool {
        (self.to_connection_ms, self.to_user_ms, self.to_address_ms) != (0, 0, 0)
    }

    /// Pays the debt, as far as the limits allow now.
    pub(crate) fn pay(&mut self, user: Option<&Arc<str>>, address: IpAddr, limits: &SendLimits) -> Result<(), Wait> {
        let connection = &self.connection;
        let own = settle(&mut self.to_connection_ms, |count| taken(connection.check_n(count)))
            .max(settle(&mut self.to_user_ms, |count| user.map_or(Ok(()), |user| limits.users.take(user, count))));
        let others = settle(&mut self.to_address_ms, |count| {
            Address::limited(address).map_or(Ok(()), |address| limits.addresses.take(&address, count))
        });
        match own.max(others) {
            None => Ok(()),
            Some(time) => Err(Wait { time, is_own: own.is_some() }),
        }
    }
}

/// Pays a debt with `take`. Returns the time to wait if that is too early.
fn settle(debt_ms: &mut u32, take: impl FnOnce(NonZeroU32) -> Result<(), Duration>) -> Option<Duration> {
    let due = NonZeroU32::new(*debt_ms)?;
    // A debt is never as large as what can be saved up, because it is paid before more is read.
    let wait = take(due.min(NonZeroU32::new(SAVED_MAX_MS)?)).err();
    if wait.is_none() {
        *debt_ms = 0;
    }
    wait
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn limits() -> SendLimits {
        // A packet is 10 ms, and so are 10 kB.
        let bytes = greyhound_sdk::config::ByteSize::mb(1);
        SendLimits::new(&LimitsConfig { packets: 100, bytes, ..LimitsConfig::default() })
    }

    /// Sends until it must wait. Returns how much was sent, and the wait.
    fn send(limits: &SendLimits, user: Option<&Arc<str>>, address: IpAddr, packets: u32, bytes: usize) -> (u32, Wait) {
        let mut debt = Debt::default();
        for count in 1.. {
            debt.add(packets, bytes, limits);
            if let Err(wait) = debt.pay(user, address, limits) {
                return (count, wait);
            }
        }
        unreachable!("it may send for ever")
    }

    #[test]
    fn packets_and_bytes_share_what_a_connection_may_send() {
        for (packets, bytes, count) in [(1, 0, 1000), (0, 10_000, 1000), (1, 10_000, 500), (0, 100, 100_000)] {
            let (sent, wait) = send(&limits(), None, HOME, packets, bytes);
            // A little more, because time passes.
            assert!((count..count * 6 / 5).contains(&sent), "{packets} packets, {bytes} bytes: {sent}");
            assert!(wait.is_own && wait.time <= Duration::from_millis(20), "{wait:?}");
        }
    }

    #[test]
    fn a_user_may_send_as_much_as_a_few_connections() {
        let (limits, user) = (limits(), Arc::from("a user"));
        let sent: u32 = (0..20).map(|_| send(&limits, Some(&user), HOME, 1, 0).0).sum();
        assert!((4000..5000).contains(&sent), "{sent}");
        assert!(send(&limits, Some(&Arc::from("another")), HOME, 1, 0).0 >= 1000);
    }

    #[test]
    fn an_address_may_send_as_much_as_many_connections() {
        let limits = limits();
        let waits: Vec<(u32, Wait)> = (0..60).map(|_| send(&limits, None, HOME, 1, 0)).collect();
        let sent: u32 = waits.iter().map(|(sent, _)| sent).sum();
        assert!((50_000..60_000).contains(&sent), "{sent}");
        assert!(waits[0].1.is_own && !waits[59].1.is_own);
        assert!(send(&limits, None, "::1".parse().unwrap(), 1, 0).1.is_own, "loopback has no such limit");
    }

    #[test]
    fn a_debt_is_paid_once() {
        let (limits, mut debt) = (limits(), Debt::default());
        debt.add(1, 0, &limits);
        assert_eq!(debt.pay(None, HOME, &limits), Ok(()));
        assert!(!debt.is_due());
    }
}
