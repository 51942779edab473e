//! Where readers stopped in the journal.

use std::collections::HashMap;

/// Maximum number of hints.
const HINTS_MAX: usize = 1024;

/// By topic and row, the journal offset at which to look for it, so that a reader continues where it stopped.
#[derive(Default)]
pub(super) struct Hints(HashMap<(u16, u64), u64>);

impl Hints {
    pub(super) fn take(&mut self, topic: u16, row: u64) -> Option<u64> {
        self.0.remove(&(topic, row))
    }

    pub(super) fn put(&mut self, topic: u16, row: u64, offset: u64) {
        if self.0.len() >= HINTS_MAX {
            self.0.clear();
        }
        self.0.insert((topic, row), offset);
    }
}
