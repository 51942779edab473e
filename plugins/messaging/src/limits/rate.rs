//! Limits on how much happens in a time.

use governor::clock::{Clock, MonotonicClock};
use governor::state::keyed::HashMapStateStore;
use governor::{InsufficientCapacity, NotUntil, Quota, RateLimiter};
use parking_lot::RwLock;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// After this many calls, the number of keys is looked at.
const CALLS_PER_SWEEP: usize = 1024;
/// With more keys than this in use, all are forgotten. An attacker with more addresses is not held by a limit of each.
const KEYS_MAX: usize = 100_000;

type Limiter<K> = RateLimiter<K, HashMapStateStore<K>, MonotonicClock>;

/// A rate, by key. A key that has not been used for so long that its whole burst is available is forgotten.
pub(crate) struct Rate<K: Eq + Hash + Clone> {
    quota: Quota,
    limiter: RwLock<Limiter<K>>,
    calls: AtomicUsize,
}

/// The quota of `rate` a second, and `burst` at once.
pub(crate) fn per_second(rate: u32, burst: u32) -> Quota {
    let at_least_one = |count| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
    Quota::per_second(at_least_one(rate)).allow_burst(at_least_one(burst))
}

impl<K: Eq + Hash + Clone> Rate<K> {
    pub(crate) fn new(quota: Quota) -> Self {
        Self { quota, limiter: RwLock::new(limiter(quota)), calls: AtomicUsize::new(0) }
    }

    /// Takes `count`, at most the burst, of what `key` may use. If that is too much now, takes nothing and returns the
    /// time until it is not.
    pub(crate) fn take(&self, key: &K, count: NonZeroU32) -> Result<(), Duration> {
        if self.calls.fetch_add(1, Relaxed) % CALLS_PER_SWEEP == CALLS_PER_SWEEP - 1 {
            self.sweep();
        }
        taken(self.limiter.read().check_key_n(key, count.min(self.quota.burst_size())))
    }

    fn sweep(&self) {
        let limiter_in_use = self.limiter.read();
        limiter_in_use.retain_recent();
        limiter_in_use.shrink_to_fit();
        let full = limiter_in_use.len() > KEYS_MAX;
        drop(limiter_in_use);
        if full {
            *self.limiter.write() = limiter(self.quota);
        }
    }
}

/// What a limiter answers to an attempt to take at most its burst.
pub(super) fn taken(
    answer: Result<Result<(), NotUntil<std::time::Instant>>, InsufficientCapacity>,
) -> Result<(), Duration> {
    answer.expect("at most the burst is taken").map_err(|until| until.wait_time_from(MonotonicClock.now()))
}

fn limiter<K: Eq + Hash + Clone>(quota: Quota) -> Limiter<K> {
    RateLimiter::hashmap_with_clock(quota, MonotonicClock)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: NonZeroU32 = NonZeroU32::MIN;

    #[test]
    fn a_key_has_its_burst_and_then_waits() {
        let rate = Rate::new(per_second(1, 3));
        for key in ["a", "b"] {
            assert_eq!([0; 3].map(|_| rate.take(&key, ONE)), [Ok(()); 3]);
            let wait = rate.take(&key, ONE).unwrap_err();
            assert!(wait <= Duration::from_secs(1), "{wait:?}");
        }
        let all = Rate::new(per_second(1, 3));
        assert_eq!(all.take(&(), NonZeroU32::MAX), Ok(()), "the burst");
        assert!(all.take(&(), ONE).is_err());
    }

    #[test]
    fn keys_that_are_not_in_use_are_forgotten() {
        let rate = Rate::new(per_second(u32::MAX, 1));
        for key in 0..10 * CALLS_PER_SWEEP {
            rate.take(&key, ONE).unwrap();
        }
        assert!(rate.limiter.read().len() <= CALLS_PER_SWEEP);
    }

    #[test]
    fn the_number_of_keys_in_use_is_bounded() {
        let rate = Rate::new(per_second(1, 1000));
        for key in 0..3 * KEYS_MAX {
            rate.take(&key, ONE).unwrap();
            assert!(rate.limiter.read().len() <= KEYS_MAX + CALLS_PER_SWEEP);
        }
    }
}
