//! A log line that may be due often, and is written seldom.

use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// How often it is written at most.
const PAUSE: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(super) struct Complaint(Mutex<Said>);

#[derive(Default)]
struct Said {
    last: Option<Instant>,
    unsaid: u64,
}

impl Complaint {
    /// Logs, if it is due; `log` is told how many times it was not.
    pub(super) fn say(&self, log: impl FnOnce(u64)) {
        let mut said = self.0.lock();
        if said.last.is_some_and(|last| last.elapsed() < PAUSE) {
            said.unsaid += 1;
            return;
        }
        said.last = Some(Instant::now());
        log(std::mem::take(&mut said.unsaid));
    }
}
