//! Limits how often a line is logged.

use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// Minimum time between two lines.
const LOG_INTERVAL_MIN: Duration = Duration::from_secs(10);

/// Logs at most one line per [`LOG_INTERVAL_MIN`].
#[derive(Default)]
pub(super) struct LogLimit(Mutex<Logged>);

#[derive(Default)]
struct Logged {
    last: Option<Instant>,
    skipped: u64,
}

impl LogLimit {
    /// Calls `log` with the number of skipped lines, unless the last line is too recent.
    pub(super) fn log(&self, log: impl FnOnce(u64)) {
        let mut logged = self.0.lock();
        if logged.last.is_some_and(|last| last.elapsed() < LOG_INTERVAL_MIN) {
            logged.skipped += 1;
            return;
        }
        logged.last = Some(Instant::now());
        log(std::mem::take(&mut logged.skipped));
    }
}
