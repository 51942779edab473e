//! Limits on the number of unauthenticated clients. Authenticated clients do not count: all users of a site may come
//! from one address, or over a few connections of a proxy.

use crate::limits::Place;
use crate::metrics as names;
use metrics::counter;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Limit of the whole node. Each client takes some 20 kB of memory.
const UNAUTHENTICATED_MAX: usize = 20_000;
/// Limit for one address. Allows for all clients of a proxy reconnecting at once.
const UNAUTHENTICATED_PER_ADDRESS_MAX: usize = 10_000;
/// Limit for one TCP connection. A browser opens one session on it, a proxy a few at a time.
const UNAUTHENTICATED_PER_CONNECTION_MAX: usize = 100;

/// Counts and limits unauthenticated clients.
#[derive(Default)]
pub(crate) struct UnauthenticatedLimit {
    by_address: Mutex<HashMap<IpAddr, usize>>,
    all: AtomicUsize,
}

/// An unauthenticated client; counts until it is dropped.
pub(crate) struct UnauthenticatedClient {
    limit: Arc<UnauthenticatedLimit>,
    address: IpAddr,
    tcp_connection: Arc<AtomicUsize>,
}

/// What a client holds from its handshake on.
pub(crate) struct Admission {
    /// Held until the connection ends.
    pub(crate) place: Place,
    /// Held until the client authenticates.
    pub(crate) unauthenticated: UnauthenticatedClient,
}

/// A limit is reached.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

impl UnauthenticatedLimit {
    /// Counts a client from `address`. `tcp_connection` is the number of unauthenticated clients on its TCP connection.
    pub(crate) fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        tcp_connection: &Arc<AtomicUsize>,
    ) -> Result<UnauthenticatedClient, TooMany> {
        let address = address.to_canonical();
        let mut by_address = self.by_address.lock();
        let from_there = by_address.get(&address).copied().unwrap_or(0);
        let reached = match () {
            () if tcp_connection.load(Relaxed) >= UNAUTHENTICATED_PER_CONNECTION_MAX => "connection",
            () if from_there >= UNAUTHENTICATED_PER_ADDRESS_MAX => "address",
            () if self.all.load(Relaxed) >= UNAUTHENTICATED_MAX => "all",
            () => {
                by_address.insert(address, from_there + 1);
                self.all.fetch_add(1, Relaxed);
                tcp_connection.fetch_add(1, Relaxed);
                return Ok(UnauthenticatedClient {
                    limit: self.clone(),
                    address,
                    tcp_connection: tcp_connection.clone(),
                });
            }
        };
        counter!(names::REFUSED_SESSIONS, "limit" => reached).increment(1);
        Err(TooMany)
    }
}

impl Drop for UnauthenticatedClient {
    fn drop(&mut self) {
        let mut by_address = self.limit.by_address.lock();
        if let Some(count) = by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&self.address);
            }
        }
        self.limit.all.fetch_sub(1, Relaxed);
        self.tcp_connection.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn many(limit: &Arc<UnauthenticatedLimit>, address: Ipv4Addr, count: usize) -> Vec<UnauthenticatedClient> {
        // Each on its own TCP connection.
        (0..count).map_while(|_| limit.admit(address.into(), &Arc::default()).ok()).collect()
    }

    #[test]
    fn each_limit_holds_and_dropped_clients_do_not_count() {
        let (limit, tcp_connection) = (Arc::new(UnauthenticatedLimit::default()), Arc::new(AtomicUsize::new(0)));
        let mut over_one: Vec<_> =
            (0..200).map_while(|_| limit.admit(Ipv4Addr::LOCALHOST.into(), &tcp_connection).ok()).collect();
        assert_eq!(over_one.len(), UNAUTHENTICATED_PER_CONNECTION_MAX);
        over_one.pop();
        assert!(limit.admit(Ipv4Addr::LOCALHOST.into(), &tcp_connection).is_ok());
        let from_one = many(&limit, Ipv4Addr::LOCALHOST, usize::MAX);
        assert_eq!(from_one.len() + over_one.len(), UNAUTHENTICATED_PER_ADDRESS_MAX);
        let others: Vec<_> = (2..5).flat_map(|last| many(&limit, Ipv4Addr::new(10, 0, 0, last), usize::MAX)).collect();
        assert_eq!(from_one.len() + over_one.len() + others.len(), UNAUTHENTICATED_MAX);
        drop((over_one, from_one, others));
        assert!(limit.by_address.lock().is_empty() && limit.all.load(Relaxed) == 0);
    }
}
