//! The settings that all client connections share.

use super::moment::Moment;
use crate::config::Config;
use crate::limits::{QueueMemory, SendLimits};
use crate::metrics as names;
use metrics::{Histogram, histogram};
use std::sync::Arc;
use std::time::Duration;

/// The limits of a connection, and the histogram of delays.
pub(crate) struct Settings {
    /// The maximum number of queued packets for one client.
    pub(super) buffer: usize,
    /// The maximum number of queued bytes for one client.
    pub(super) queue_bytes: usize,
    /// The memory of all queues.
    pub(super) queue_memory: Arc<QueueMemory>,
    /// A client that reads nothing for this long is disconnected.
    pub(super) write_timeout: Duration,
    /// What clients may send.
    pub(super) send_limits: SendLimits,
    /// A client that sends more for this long is disconnected.
    pub(super) flood_timeout: Duration,
    /// Time from the receipt of a message until it is passed to the kernel or to a poll.
    delay: Histogram,
}

impl Settings {
    pub(crate) fn new(config: &Config, queue_memory: Arc<QueueMemory>) -> Self {
        Self {
            buffer: config.buffer,
            queue_bytes: usize::try_from(config.limits.queue.as_u64()).unwrap_or(usize::MAX),
            queue_memory,
            write_timeout: config.write_timeout,
            send_limits: SendLimits::new(&config.limits),
            // After this, the answer to a ping may be late behind everything else that was sent.
            flood_timeout: config.ping_timeout,
            delay: histogram!(names::DELAY),
        }
    }

    /// Records the delay of the oldest of several messages that were written together, if it is part of the sample.
    pub(super) fn record_delay(&self, oldest: Option<Moment>) {
        if let Some(received) = oldest.filter(|received| received.is_sample()) {
            self.delay.record(received.elapsed());
        }
    }
}
