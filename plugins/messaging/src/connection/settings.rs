//! The settings that all client connections share.

use super::moment::Moment;
use crate::metrics as names;
use metrics::{Histogram, histogram};
use std::time::Duration;

/// The limits of a connection, and the histogram of delays.
pub(crate) struct Settings {
    /// The maximum number of queued packets for one client.
    pub(super) buffer: usize,
    /// A client that reads nothing for this long is disconnected.
    pub(super) write_timeout: Duration,
    /// Time from the receipt of a message until it is passed to the kernel or to a poll.
    delay: Histogram,
}

impl Settings {
    pub(crate) fn new(buffer: usize, write_timeout: Duration) -> Self {
        Self { buffer, write_timeout, delay: histogram!(names::DELAY) }
    }

    /// Records the delay of the oldest of several messages that were written together, if it is part of the sample.
    pub(super) fn record_delay(&self, oldest: Option<Moment>) {
        if let Some(received) = oldest.filter(|received| received.is_sample()) {
            self.delay.record(received.elapsed());
        }
    }
}
