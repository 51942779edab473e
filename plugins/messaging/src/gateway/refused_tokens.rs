//! Slows clients whose tokens are refused: each refusal of a client is answered more slowly than the one before, and
//! those of an address no faster than a rate.

use crate::limits::{Address, Rate, per_second};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

/// The pause after a client's first refusal. It doubles with each: a client gets to its last in half a second, before the
/// time to authenticate ends, and is told why.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// Refusals a second for the clients of an address, without another pause.
const ADDRESS_PER_SECOND: u32 = 10;
/// Refusals of an address at once: all users of an office may come with expired tokens in the morning.
const ADDRESS_BURST: u32 = 1000;

/// The refused tokens of each address.
pub(super) struct RefusedTokens(Rate<Address>);

impl Default for RefusedTokens {
    fn default() -> Self {
        Self(Rate::new(per_second(ADDRESS_PER_SECOND, ADDRESS_BURST)))
    }
}

impl RefusedTokens {
    /// The pause for a client after so many refusals.
    pub(super) fn pause(&self, refusals: u32, address: IpAddr) -> Duration {
        let of_address = Address::limited(address).map(|address| self.0.take(&address, NonZeroU32::MIN));
        let own = FIRST_PAUSE * 2_u32.saturating_pow(refusals.saturating_sub(1).min(16));
        own + of_address.and_then(Result::err).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_is_slower_than_the_one_before() {
        let (refused, home) = (RefusedTokens::default(), "192.0.2.1".parse().unwrap());
        let pauses: Vec<_> = (1..=10).map(|refusals| refused.pause(refusals, home)).collect();
        assert!(pauses.is_sorted() && pauses[0] < pauses[9], "{pauses:?}");
        let one = |address: &str| refused.pause(1, address.parse().unwrap());
        (10..ADDRESS_BURST).for_each(|_| assert!(one("192.0.2.1") >= FIRST_PAUSE));
        // Some may have been made up for meanwhile.
        let last = (0..ADDRESS_BURST).map(|_| one("192.0.2.1")).max();
        assert!(last > Some(FIRST_PAUSE), "{last:?}");
        assert_eq!((one("192.0.2.2"), one("127.0.0.1")), (FIRST_PAUSE, FIRST_PAUSE));
    }
}
