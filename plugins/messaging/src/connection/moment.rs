//! Moments that are small, because each message that waits for a client has one.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A moment, to the microsecond. Only the time from one to another means something, and only within an hour, which is
/// longer than anything waits for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment(u32);

impl Moment {
    /// Any moment.
    pub(crate) const BEGIN: Self = Self(0);

    pub(crate) fn now() -> Self {
        Self::of(Instant::now())
    }

    // The wrap is meant.
    #[expect(clippy::cast_possible_truncation)]
    pub(crate) fn of(instant: Instant) -> Self {
        Self(instant.saturating_duration_since(*BEGIN).as_micros() as u32)
    }

    /// Whether it is one of those that are measured: one in 16, by chance.
    pub(crate) fn is_sample(self) -> bool {
        self.0.is_multiple_of(16)
    }

    /// How long ago it was.
    pub(crate) fn elapsed(self) -> Duration {
        Duration::from_micros(Self::now().0.wrapping_sub(self.0).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_between_two_is_right_over_the_wrap() {
        let before = Moment(Moment::now().0.wrapping_sub(5_000_000));
        assert!((5..8).contains(&before.elapsed().as_secs()));
    }
}
