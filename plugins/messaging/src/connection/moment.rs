//! Timestamps of 4 bytes, because each queued message has one.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A monotonic timestamp in microseconds that wraps after 71 minutes. Use it only to measure durations below an hour;
/// nothing waits that long for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment(u32);

impl Moment {
    /// An arbitrary moment, for deliveries that are not recorded.
    pub(super) const BEGIN: Self = Self(0);

    pub(crate) fn now() -> Self {
        Self::of(Instant::now())
    }

    // It is meant to wrap.
    #[expect(clippy::cast_possible_truncation)]
    pub(crate) fn of(instant: Instant) -> Self {
        Self(instant.saturating_duration_since(*BEGIN).as_micros() as u32)
    }

    /// Whether its delay is measured: a random sample of one in 16.
    pub(super) fn is_sample(self) -> bool {
        self.0.is_multiple_of(16)
    }

    /// The time since then.
    pub(crate) fn elapsed(self) -> Duration {
        Duration::from_micros(Self::now().0.wrapping_sub(self.0).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_right_across_the_wrap() {
        let before = Moment(Moment::now().0.wrapping_sub(5_000_000));
        assert!((5..8).contains(&before.elapsed().as_secs()));
    }
}
