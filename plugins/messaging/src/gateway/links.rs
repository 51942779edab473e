//! All TCP connections of clients together.

use super::link::Link;
use super::moment::Moment;
use crate::metrics as names;
use metrics::{Histogram, histogram};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::yield_now;

/// A writer writes to so many clients before others get their turn.
const AT_ONCE: usize = 64;

/// What the connections of clients have in common.
pub(crate) struct Links {
    /// So many packets may wait for one client.
    pub(super) buffer: usize,
    /// A client that takes nothing for so long is closed.
    pub(super) write_timeout: Duration,
    /// To these something is to be written, in this order; none when the writers have stopped.
    due: Mutex<Option<VecDeque<Arc<Link>>>>,
    awake: Notify,
    /// How long messages wait until the kernel, or a poll, has them.
    delay: Histogram,
}

impl Links {
    pub(crate) fn new(buffer: usize, write_timeout: Duration) -> Self {
        Self {
            buffer,
            write_timeout,
            due: Mutex::new(Some(VecDeque::new())),
            awake: Notify::new(),
            delay: histogram!(names::DELAY),
        }
    }

    /// Lets the writers write what waits for these.
    pub(crate) fn write_to(&self, due: Vec<Arc<Link>>) {
        if due.is_empty() {
            return;
        }
        if let Some(all) = &mut *self.due.lock() {
            all.extend(due);
        }
        self.awake.notify_one();
    }

    /// Stops the writers; what waits is written as far as clients take it.
    pub(super) fn stop(&self) {
        let rest = self.due.lock().take();
        rest.into_iter().flatten().for_each(|link| link.write());
    }

    /// Writes to clients what waits for them. Until a client has its turn, what is sent to it joins: it is written by
    /// one call. Runs for ever, as often as there are threads.
    pub(crate) async fn write(&self) {
        let mut turn = Vec::with_capacity(AT_ONCE);
        loop {
            let more = {
                let mut due = self.due.lock();
                let Some(due) = &mut *due else { return };
                let count = due.len().min(AT_ONCE);
                turn.extend(due.drain(..count));
                !due.is_empty()
            };
            if turn.is_empty() {
                self.awake.notified().await;
                continue;
            }
            if more {
                self.awake.notify_one();
            }
            turn.drain(..).for_each(|link| link.write());
            yield_now().await;
        }
    }

    /// Counts how long the message waited that was received then; one of those that are written at a time, and of these
    /// a sample.
    pub(super) fn count_delay(&self, oldest: Option<Moment>) {
        if let Some(received) = oldest.filter(|received| received.is_sample()) {
            self.delay.record(received.elapsed());
        }
    }
}
