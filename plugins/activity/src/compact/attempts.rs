//! Hours whose compaction killed the process: each is retried only after a pause, so that it cannot kill every start.
//!
//! While an hour is rewritten, a file in staging marks the attempt. A file that is there at the start was left by a
//! process that was killed, for whatever reason.

use crate::layout::Hour;
use crate::read::Blocking;
use crate::store::staging::{begun, now};
use crate::store::{Staging, Store, StoreError};
use bytes::Bytes;
use greyhound_sdk::Shard;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The suffix of an attempt's file.
const SUFFIX: &str = ".try";
const FILE_CONTENT: &[u8] = b"This hour is being compacted. After a process died in it, it is tried again later.\n";
/// The pause after the first failure; it doubles with each further one, ...
pub(super) const RETRY_PAUSE_MIN: Duration = Duration::from_secs(600);
/// ... up to this.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(86_400);

/// The attempts of one shard in one table.
pub(super) struct Attempts {
    staging: Staging,
    first_pause: Duration,
    /// The files of dead attempts, and when the last one was made.
    left: BTreeMap<Hour, (Vec<String>, u64)>,
}

/// An attempt to compact an hour: its file is written before, and removed after.
pub(super) struct Attempt {
    path: String,
    /// Files of attempts of earlier processes.
    earlier: Vec<String>,
}

// === impl Attempts ===

impl Attempts {
    pub(super) fn new(store: Arc<dyn Store>, topic: &str, shard: &Shard, first_pause: Duration) -> Self {
        Self { staging: Staging::new(store, topic, shard), first_pause, left: BTreeMap::new() }
    }

    /// Finds the attempts that earlier processes left; returns the number of deaths for each hour.
    pub(super) async fn recover(&mut self) -> Result<impl Iterator<Item = (Hour, usize)>, StoreError> {
        self.left.clear();
        for name in self.staging.names().await? {
            if let Some(hour) = attempted_hour(&name) {
                let (paths, last) = self.left.entry(hour).or_default();
                *last = (*last).max(begun(&name).unwrap_or(0));
                paths.push(format!("{}/{name}", self.staging.directory()));
            }
        }
        Ok(self.left.iter().map(|(hour, (paths, _))| (*hour, paths.len())))
    }

    /// Whether it is too early for an hour. A time in the future comes from a wrong clock, and is ignored.
    pub(super) fn waits(&self, hour: Hour) -> bool {
        self.left.get(&hour).is_some_and(|(paths, last)| {
            let since = now().checked_sub(*last).map_or(Duration::MAX, Duration::from_secs);
            since < pause(self.first_pause, paths.len())
        })
    }

    /// A new attempt.
    pub(super) fn begin(&mut self, hour: Hour) -> Attempt {
        let earlier = self.left.remove(&hour).unwrap_or_default().0;
        Attempt { path: self.staging.name(&format!(".{}{SUFFIX}", hour.0)), earlier }
    }
}

// === impl Attempt ===

impl Attempt {
    pub(super) fn set(&self, store: &Blocking) -> Result<(), StoreError> {
        store.ask(async |store| store.write(&self.path, Bytes::from_static(FILE_CONTENT)).await)
    }

    /// Removes the files: the process did not die. If this fails, the hour may have to wait once.
    pub(super) fn clear(self, store: &Blocking) {
        for path in self.earlier.into_iter().chain([self.path]) {
            let _ = store.ask(async |store| store.remove(&path).await);
        }
    }
}

/// The hour of the attempt whose file has this name.
pub(crate) fn attempted_hour(name: &str) -> Option<Hour> {
    name.strip_suffix(SUFFIX)?.rsplit_once('.')?.1.parse().ok().map(Hour)
}

/// The pause of an hour that failed so often.
pub(super) fn pause(first: Duration, failures: usize) -> Duration {
    let doublings = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    first.saturating_mul(2_u32.saturating_pow(doublings)).min(RETRY_PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_often_a_process_died_in_an_hour_the_longer_it_waits() {
        let minutes = [1, 2, 3, 8, 9, 1000].map(|deaths| pause(RETRY_PAUSE_MIN, deaths).as_secs() / 60);
        assert_eq!(minutes, [10, 20, 40, 1280, 1440, 1440]);
    }

    #[test]
    fn an_attempt_names_its_hour() {
        assert_eq!(attempted_hour("1764374400-00ff-3.494000.try"), Some(Hour(494_000)));
        assert_eq!(attempted_hour("1764374400-00ff-3.494000.new"), None);
    }
}
