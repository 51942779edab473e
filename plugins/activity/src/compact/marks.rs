//! Hours that a process died in: each is tried again only after a while, so that nobody dies of one at each start.
//!
//! While an hour is rewritten there is a file in staging that says so. One that is there at the start was left by a
//! process that was killed, for whatever reason.

use crate::read::Blocking;
use crate::roll::Hour;
use crate::store::staging::{begun, now};
use crate::store::{Staging, Store, StoreError};
use bytes::Bytes;
use greyhound_sdk::Shard;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What a mark's name ends in.
const MARK: &str = ".try";
const CONTENT: &[u8] = b"This hour is being compacted. After a process died in it, it is tried again later.\n";
/// An hour waits for so long after the first death, twice as long after each further one, ...
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(600);
/// ... and at the most so long.
const LAST_PAUSE: Duration = Duration::from_secs(86_400);

/// The marks of one shard in one table.
pub(super) struct Marks {
    staging: Staging,
    first_pause: Duration,
    /// Their paths, and when the last one was made.
    left: BTreeMap<Hour, (Vec<String>, u64)>,
}

/// An hour's marks: made before it is rewritten, and removed after.
pub(super) struct Mark {
    path: String,
    /// Those of earlier processes.
    earlier: Vec<String>,
}

// === impl Marks ===

impl Marks {
    pub(super) fn new(store: Arc<dyn Store>, topic: &str, shard: &Shard, first_pause: Duration) -> Self {
        Self { staging: Staging::new(store, topic, shard), first_pause, left: BTreeMap::new() }
    }

    /// Finds what earlier processes left, and tells of each hour how often one died in it.
    pub(super) async fn recover(&mut self) -> Result<impl Iterator<Item = (Hour, usize)>, StoreError> {
        self.left.clear();
        for name in self.staging.names().await? {
            if let Some(hour) = marked(&name) {
                let (paths, last) = self.left.entry(hour).or_default();
                *last = (*last).max(begun(&name).unwrap_or(0));
                paths.push(format!("{}/{name}", self.staging.directory()));
            }
        }
        Ok(self.left.iter().map(|(hour, (paths, _))| (*hour, paths.len())))
    }

    /// Whether it is too early for an hour. A time to come is that of a wrong clock, which nobody waits for.
    pub(super) fn waits(&self, hour: Hour) -> bool {
        self.left.get(&hour).is_some_and(|(paths, last)| {
            let since = now().checked_sub(*last).map_or(Duration::MAX, Duration::from_secs);
            since < pause(self.first_pause, paths.len())
        })
    }

    /// The mark of a new attempt.
    pub(super) fn mark(&mut self, hour: Hour) -> Mark {
        let earlier = self.left.remove(&hour).unwrap_or_default().0;
        Mark { path: self.staging.name(&format!(".{}{MARK}", hour.0)), earlier }
    }
}

// === impl Mark ===

impl Mark {
    pub(super) fn set(&self, store: &Blocking) -> Result<(), StoreError> {
        store.ask(async |store| store.write(&self.path, Bytes::from_static(CONTENT)).await)
    }

    /// Nobody died. Where it cannot be removed, the hour may have to wait once.
    pub(super) fn clear(self, store: &Blocking) {
        for path in self.earlier.into_iter().chain([self.path]) {
            let _ = store.ask(async |store| store.remove(&path).await);
        }
    }
}

/// The hour whose mark has this name.
pub(crate) fn marked(name: &str) -> Option<Hour> {
    name.strip_suffix(MARK)?.rsplit_once('.')?.1.parse().ok().map(Hour)
}

fn pause(first: Duration, deaths: usize) -> Duration {
    let doublings = u32::try_from(deaths.saturating_sub(1)).unwrap_or(u32::MAX);
    first.saturating_mul(2_u32.saturating_pow(doublings)).min(LAST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_often_a_process_died_in_an_hour_the_longer_it_waits() {
        let minutes = [1, 2, 3, 8, 9, 1000].map(|deaths| pause(FIRST_PAUSE, deaths).as_secs() / 60);
        assert_eq!(minutes, [10, 20, 40, 1280, 1440, 1440]);
    }

    #[test]
    fn a_mark_tells_its_hour() {
        assert_eq!(marked("1764374400-00ff-3.494000.try"), Some(Hour(494_000)));
        assert_eq!(marked("1764374400-00ff-3.494000.new"), None);
    }
}
