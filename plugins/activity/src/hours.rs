//! `_SUCCESS`: the word that a shard's directory of a closed hour is complete.

use crate::commit::{Found, directory, file_name, find};
use crate::roll::Hour;
use crate::store::{Passing, Staging, Store, StoreError, Trouble, names_in};
use greyhound_sdk::Shard;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The name of the file that says so.
pub const SUCCESS: &str = "_SUCCESS";
/// It is not longer than this.
const SUCCESS_BYTES: usize = 16 << 20;
/// Longer than this no downtime is: a clock that was never set, or was set wrongly, has leapt.
pub(crate) const LONGEST_DOWNTIME_HOURS: i64 = 24 * 366;

/// Closes the hours of one table, one after the other, empty ones and those of downtimes included.
///
/// The first one that a shard closes is the one before its first row or floor, in which it had none: where it has rows, there
/// is a `_SUCCESS`, and none of those that others have is read to find where it stopped.
pub struct Hours {
    store: Arc<dyn Store>,
    staging: Staging,
    topic: String,
    shard: Shard,
    /// The first hour that is not closed, and the number after the last row before it; none before the first row or floor.
    next: Option<(Hour, u64)>,
}

/// The content of `_SUCCESS`, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Success {
    /// The table.
    pub topic: String,
    /// The shard.
    pub shard: String,
    /// How many rows the hour has.
    pub rows: u64,
    /// The number of the first row, if there is one.
    pub first: Option<u64>,
    /// The number of the last row, if there is one.
    pub last: Option<u64>,
    /// The number after the last row that was recorded up to the end of the hour.
    pub next: u64,
    /// Of each file: its first and last row.
    pub files: Vec<(u64, u64)>,
    /// Missing numbers, first and last; `greyhound.gap` says why.
    pub gaps: Vec<(u64, u64)>,
    /// Whether the files are compacted: made of those that were committed.
    #[serde(default)]
    pub compacted: bool,
    /// When this hour was closed, the first one that was not compacted (hours since 1970 UTC).
    pub uncompacted: Option<Hour>,
}

impl Hours {
    /// The hours of `topic`'s table.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, topic: &str, shard: Shard) -> Self {
        let staging = Staging::new(store.clone(), topic, &shard);
        Self { store, staging, topic: topic.to_owned(), shard, next: None }
    }

    /// Finds where an earlier run stopped: from the tables alone, so that a lost data directory is no harm. Returns the closed
    /// hours that it may have left without compaction.
    ///
    /// A shard that has never written to the table is not looked for in years of hours that others have: who writes has a
    /// directory in staging. (Where somebody cleared that, `has_rows` still tells of an earlier run.)
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn resume(&mut self, has_rows: bool) -> Result<Vec<Hour>, StoreError> {
        if !has_rows && !self.staging.is_known().await? {
            return Ok(Vec::new());
        }
        let mut oldest_open = None;
        for day in self.newest_first(&self.topic, "dt=").await? {
            for hour in self.newest_first(&format!("{}/{day}", self.topic), "hour=").await? {
                let Some(at) = parse(&day, &hour) else { continue };
                let directory = directory(&self.topic, at, &self.shard);
                let names = names_in(self.store.as_ref(), &directory).await?;
                // One that cannot be read is none: it does not tell which row is the next.
                if names.iter().any(|n| n == SUCCESS)
                    && let Some(success) = Success::read(self.store.as_ref(), &directory).await?
                {
                    let open = at.0 + 1;
                    self.next = Some((Hour(open), success.next));
                    // One that does not tell was written by a version that looked a day back.
                    let uncompacted = success.uncompacted.unwrap_or(Hour(at.0 - 23));
                    return Ok((uncompacted.0.max(open - LONGEST_DOWNTIME_HOURS)..open).map(Hour).collect());
                }
                if !names.is_empty() {
                    oldest_open = Some((at, 0));
                }
            }
        }
        self.next = oldest_open;
        Ok(Vec::new())
    }

    /// Closes the oldest open hour before `end`, if there is one, and returns it: all their rows are committed, and none will
    /// come. `uncompacted` is the oldest closed hour that is not compacted.
    ///
    /// # Errors
    /// Where the store cannot be written.
    pub async fn close_next(&mut self, end: Hour, uncompacted: Option<Hour>) -> Result<Option<Hour>, StoreError> {
        let (at, expected) = *self.next.get_or_insert((Hour(end.0 - 1), 0));
        if end.0 - at.0 > LONGEST_DOWNTIME_HOURS {
            tracing::warn!(topic = self.topic, hours = end.0 - at.0, "the clock leapt: the hours between are not marked as complete");
            self.next = Some((end, expected));
            return Ok(None);
        }
        if at >= end {
            return Ok(None);
        }
        let next = self.close(at, expected, uncompacted.unwrap_or(at)).await?;
        self.next = Some((Hour(at.0 + 1), next));
        Ok(Some(at))
    }

    async fn close(&mut self, hour: Hour, expected: u64, uncompacted: Hour) -> Result<u64, StoreError> {
        let directory = directory(&self.topic, hour, &self.shard);
        let mut success = Success {
            topic: self.topic.clone(),
            shard: self.shard.to_string(),
            rows: 0,
            first: None,
            last: None,
            next: expected,
            files: Vec::new(),
            gaps: Vec::new(),
            compacted: false,
            uncompacted: Some(uncompacted),
        };
        for name in self.store.list(&directory).await?.iter().filter(|n| n.ends_with(".parquet")) {
            let path = format!("{directory}/{name}");
            match find(self.store.as_ref(), &path).await? {
                (Found::File(footer), _) => success.add(footer.first, footer.last, footer.rows),
                // The rows that come are not held up by it.
                _ => tracing::error!(path, "this is no file that Greyhound wrote, or it is damaged: _SUCCESS will not tell of it"),
            }
        }
        let text = serde_json::to_vec_pretty(&success).map_err(|e| Trouble::passing(Passing::Other, e).at("encode", directory.as_str()))?;
        // Where there is one already, an attempt whose answer was lost made it.
        self.staging.place(text.into(), &format!("{directory}/{SUCCESS}")).await?;
        Ok(success.next)
    }

    async fn newest_first(&self, path: &str, prefix: &str) -> Result<Vec<String>, StoreError> {
        let mut names = names_in(self.store.as_ref(), path).await?;
        names.retain(|n| n.starts_with(prefix));
        names.sort_unstable_by(|a, b| b.cmp(a));
        Ok(names)
    }
}

impl Success {
    /// What the one in `directory` says; `None` where there is none, or not a whole one.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn read(store: &dyn Store, directory: &str) -> Result<Option<Self>, StoreError> {
        let text = store.read_tail(&format!("{directory}/{SUCCESS}"), SUCCESS_BYTES).await?;
        Ok(text.and_then(|(text, _)| serde_json::from_slice(&text).ok()))
    }

    /// The names of the files.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.files.iter().map(|(first, _)| file_name(*first))
    }

    fn add(&mut self, first: u64, last: u64, rows: u64) {
        if first > self.next {
            self.gaps.push((self.next, first - 1));
        }
        self.rows += rows;
        self.first.get_or_insert(first);
        self.last = Some(last);
        self.next = last + 1;
        self.files.push((first, last));
    }
}

/// The hour of `dt=YYYY-MM-DD` and `hour=HH`.
pub(crate) fn parse(day: &str, hour: &str) -> Option<Hour> {
    let text = format!("{}T{}:00:00Z", day.strip_prefix("dt=")?, hour.strip_prefix("hour=")?);
    let time = humantime::parse_rfc3339(&text).ok()?;
    let seconds = time.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
    Some(Hour(i64::try_from(seconds / 3600).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::local::LocalStore;
    use greyhound_sdk::fs::OsFileSystem;

    #[test]
    fn an_hour_is_found_in_its_directory() {
        let hour = Hour(494_000);
        let path = directory("t", hour, &Shard::new("n", 1));
        assert_eq!(path, "t/dt=2026-05-10/hour=08/shard=n-00000001");
        assert_eq!(parse("dt=2026-05-10", "hour=08"), Some(hour));
        assert_eq!(parse("dt=x", "hour=08"), None);
    }

    #[tokio::test]
    async fn after_a_clock_that_leapt_hours_are_closed_again() {
        let home = tempfile::tempdir().unwrap();
        let store = Arc::new(LocalStore::new(Arc::new(OsFileSystem), home.path()));
        let mut hours = Hours::new(store, "t", Shard::new("n", 1));
        let leapt = 10 + LONGEST_DOWNTIME_HOURS + 1;
        for hour in [10, leapt, leapt + 1] {
            while hours.close_next(Hour(hour), None).await.unwrap().is_some() {}
        }
        let is_closed = |hour| home.path().join(directory("t", Hour(hour), &Shard::new("n", 1))).join(SUCCESS).exists();
        assert!(is_closed(leapt) && !is_closed(10) && !is_closed(leapt - 1));
    }
}
