//! How many clients may be there that have not authenticated. Whoever has authenticated does not count: a site's users
//! may all come from one address, or over few connections of a proxy.

use crate::metrics as names;
use metrics::counter;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// So many on all connections: at some 20 kB each, what memory may be spent on strangers.
const UNPROVEN_MAX: usize = 20_000;
/// So many from one address: a proxy's clients that come back all at once.
const UNPROVEN_BY_ADDRESS_MAX: usize = 10_000;
/// So many that began over one TCP connection: a browser has one, a proxy's connection a few at a time.
const UNPROVEN_BY_CONNECTION_MAX: usize = 100;

/// Counts clients that have not authenticated.
#[derive(Default)]
pub(crate) struct Admission {
    by_address: Mutex<HashMap<IpAddr, usize>>,
    all: AtomicUsize,
}

/// A client that has not authenticated; counts until it is dropped.
pub(crate) struct Unproven {
    admission: Arc<Admission>,
    address: IpAddr,
    tcp_connection: Arc<AtomicUsize>,
}

/// There are too many already.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

impl Admission {
    /// Counts a client from `address` whose session begins over a TCP connection on which `connection` have begun.
    pub(crate) fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        tcp_connection: &Arc<AtomicUsize>,
    ) -> Result<Unproven, TooMany> {
        let address = address.to_canonical();
        let mut by_address = self.by_address.lock();
        let from_there = by_address.get(&address).copied().unwrap_or(0);
        let limit = match () {
            () if tcp_connection.load(Relaxed) >= UNPROVEN_BY_CONNECTION_MAX => "connection",
            () if from_there >= UNPROVEN_BY_ADDRESS_MAX => "address",
            () if self.all.load(Relaxed) >= UNPROVEN_MAX => "all",
            () => {
                by_address.insert(address, from_there + 1);
                self.all.fetch_add(1, Relaxed);
                tcp_connection.fetch_add(1, Relaxed);
                return Ok(Unproven { admission: self.clone(), address, tcp_connection: tcp_connection.clone() });
            }
        };
        counter!(names::REFUSED_SESSIONS, "limit" => limit).increment(1);
        Err(TooMany)
    }
}

impl Drop for Unproven {
    fn drop(&mut self) {
        let mut by_address = self.admission.by_address.lock();
        if let Some(count) = by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&self.address);
            }
        }
        self.admission.all.fetch_sub(1, Relaxed);
        self.tcp_connection.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn many(admission: &Arc<Admission>, address: Ipv4Addr, count: usize) -> Vec<Unproven> {
        // Each over a connection of its own.
        (0..count).map_while(|_| admission.admit(address.into(), &Arc::default()).ok()).collect()
    }

    #[test]
    fn each_limit_holds_and_who_is_proven_does_not_count() {
        let (admission, tcp_connection) = (Arc::new(Admission::default()), Arc::new(AtomicUsize::new(0)));
        let mut over_one: Vec<_> =
            (0..200).map_while(|_| admission.admit(Ipv4Addr::LOCALHOST.into(), &tcp_connection).ok()).collect();
        assert_eq!(over_one.len(), UNPROVEN_BY_CONNECTION_MAX);
        over_one.pop();
        assert!(admission.admit(Ipv4Addr::LOCALHOST.into(), &tcp_connection).is_ok());
        let from_one = many(&admission, Ipv4Addr::LOCALHOST, usize::MAX);
        assert_eq!(from_one.len() + over_one.len(), UNPROVEN_BY_ADDRESS_MAX);
        let others: Vec<_> =
            (2..5).flat_map(|last| many(&admission, Ipv4Addr::new(10, 0, 0, last), usize::MAX)).collect();
        assert_eq!(from_one.len() + over_one.len() + others.len(), UNPROVEN_MAX);
        drop((over_one, from_one, others));
        assert!(admission.by_address.lock().is_empty() && admission.all.load(Relaxed) == 0);
    }
}
