//! What all connections of clients share.

use super::moment::Moment;
use crate::metrics as names;
use metrics::{Histogram, histogram};
use std::time::Duration;

/// The limits of each connection, and the measure of their delays.
pub(crate) struct Settings {
    /// The most packets that may wait for one client.
    pub(super) buffer: usize,
    /// A client that takes nothing for this long is closed.
    pub(super) write_timeout: Duration,
    /// From receipt of a message until the kernel, or a poll, has it.
    delay: Histogram,
}

impl Settings {
    pub(crate) fn new(buffer: usize, write_timeout: Duration) -> Self {
        Self { buffer, write_timeout, delay: histogram!(names::DELAY) }
    }

    /// Records how long a message waited that was received at `oldest`: the oldest of those that are written at a
    /// time, and of these a sample.
    pub(super) fn count_delay(&self, oldest: Option<Moment>) {
        if let Some(received) = oldest.filter(|received| received.is_sample()) {
            self.delay.record(received.elapsed());
        }
    }
}
