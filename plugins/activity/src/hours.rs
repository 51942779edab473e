//! `_SUCCESS`: the word that a shard's directory of a closed hour is complete.

use crate::commit::{Found, directory, file_name, find, first_of};
use crate::encode::Footer;
use crate::roll::Hour;
use crate::store::{Passing, Published, Staging, Store, StoreError, Trouble, names_in};
use bytes::Bytes;
use greyhound_sdk::Shard;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The name of the file that says so.
pub const SUCCESS: &str = "_SUCCESS";
/// The name of the file that marks the first hour of a shard.
pub(crate) const FIRST_HOUR: &str = "_FIRST_HOUR";
const FIRST_HOUR_CONTENT: &[u8] = b"This shard wrote nothing to this table before this hour.\n";
/// It is not longer than this.
const SUCCESS_BYTES: usize = 16 << 20;
/// Longer than this no downtime is: a clock that was never set, or was set wrongly, has leapt.
pub(crate) const LONGEST_DOWNTIME_HOURS: i64 = 24 * 366;

/// Closes the hours of one table, one after the other, empty ones and those of downtimes included.
///
/// The first one is the hour of the shard's first row or floor. A file in its directory marks it before it is closed:
/// after a restart, this file says that the hours up to then must be closed, even if the shard has no rows, and that no
/// older hour of other shards need be read.
pub struct Hours {
    store: Arc<dyn Store>,
    staging: Staging,
    topic: String,
    shard: Shard,
    /// The first hour that is not closed, and the number after the last row before it; none before the first row or
    /// floor.
    next: Option<(Hour, u64)>,
}

/// An hour that is to be closed.
#[derive(Debug, Clone)]
pub struct Closing {
    /// Which.
    pub hour: Hour,
    /// What its `_SUCCESS` will say.
    pub success: Success,
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

    /// Finds where an earlier run stopped: from the tables alone, so that a lost data directory is no harm. Returns the
    /// closed hours that it may have left without compaction.
    ///
    /// A shard that has never written to the table is not looked for in years of hours that others have: who writes has
    /// a directory in staging. (Where somebody cleared that, `has_rows` still tells of an earlier run.)
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn resume(&mut self, has_rows: bool) -> Result<Vec<Hour>, StoreError> {
        if !has_rows && !self.staging.is_known().await? {
            return Ok(Vec::new());
        }
        let mut oldest_open = None;
        'days: for day in self.newest_first(&self.topic, "dt=").await? {
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
                if names.iter().any(|n| n == FIRST_HOUR) {
                    break 'days;
                }
            }
        }
        self.next = oldest_open;
        Ok(Vec::new())
    }

    /// The oldest open hour before `end`, if there is one, and what its `_SUCCESS` would say.
    ///
    /// # Errors
    /// If the store, or a file of the hour, cannot be read, or the first hour cannot be marked.
    pub async fn oldest_open(&mut self, end: Hour) -> Result<Option<Closing>, StoreError> {
        let (hour, expected) = match self.next {
            Some(next) => next,
            None => self.begin(end).await?,
        };
        if end.0 - hour.0 > LONGEST_DOWNTIME_HOURS {
            tracing::warn!(
                topic = self.topic,
                hours = end.0 - hour.0,
                "the clock leapt: the hours between are not marked as complete"
            );
            self.next = Some((end, expected));
            return Ok(None);
        }
        if hour >= end {
            return Ok(None);
        }
        let success = self.survey(hour, expected).await?;
        Ok(Some(Closing { hour, success }))
    }

    /// Marks the first hour.
    async fn begin(&mut self, hour: Hour) -> Result<(Hour, u64), StoreError> {
        let path = format!("{}/{FIRST_HOUR}", self.directory(hour));
        // If it is there, an earlier attempt made it.
        self.staging.place(Bytes::from_static(FIRST_HOUR_CONTENT), &path).await?;
        Ok(*self.next.insert((hour, 0)))
    }

    /// Closes an hour: all its rows are committed, and none will come. `uncompacted` is the oldest closed hour that is
    /// not compacted.
    ///
    /// # Errors
    /// If the store cannot be written, or something else is in the place of `_SUCCESS`.
    pub async fn close(&mut self, closing: &Closing, uncompacted: Option<Hour>) -> Result<(), StoreError> {
        let Closing { hour, success } = closing;
        let success = Success { uncompacted: Some(uncompacted.unwrap_or(*hour)), ..success.clone() };
        self.mark(*hour, success).await?;
        self.next = Some((Hour(hour.0 + 1), closing.success.next));
        Ok(())
    }

    /// Takes note that an hour that may have been closed has got a file: it is closed anew.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn reopen(&mut self, hour: Hour) -> Result<(), StoreError> {
        if self.next.is_none_or(|(next, _)| hour >= next) {
            return Ok(());
        }
        let before = Success::read(self.store.as_ref(), &self.directory(Hour(hour.0 - 1))).await?;
        let expected = match before {
            Some(before) => before.next,
            None => self.store.list(&self.directory(hour)).await?.iter().find_map(|name| first_of(name)).unwrap_or(0),
        };
        self.next = Some((hour, expected));
        Ok(())
    }

    /// Removes the `_SUCCESS` of an hour that was closed, which is to get a file.
    ///
    /// # Errors
    /// If the store cannot.
    pub async fn unmark(&self, hour: Hour) -> Result<(), StoreError> {
        match self.next.is_some_and(|(next, _)| hour < next) {
            true => self.store.remove(&format!("{}/{SUCCESS}", self.directory(hour))).await,
            false => Ok(()),
        }
    }

    /// The rows that all files have, in order, and the oldest hour that should be closed and is not.
    ///
    /// # Errors
    /// If the store, or a file, cannot be read.
    pub async fn present(&self) -> Result<(Vec<(u64, u64)>, Option<Hour>), StoreError> {
        let (mut present, mut unmarked) = (Vec::new(), None);
        for day in self.newest_first(&self.topic, "dt=").await? {
            for name in self.newest_first(&format!("{}/{day}", self.topic), "hour=").await? {
                let Some(hour) = parse(&day, &name) else { continue };
                let names = names_in(self.store.as_ref(), &self.directory(hour)).await?;
                if names.is_empty() {
                    continue;
                }
                present.extend(self.footers(hour).await?.iter().flat_map(Footer::ranges));
                if self.next.is_some_and(|(next, _)| hour < next) && !names.iter().any(|name| name == SUCCESS) {
                    unmarked = Some(hour);
                }
            }
        }
        present.sort_unstable();
        Ok((present, unmarked))
    }

    /// The first row of the hours after `hour`, up to `end`.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn first_after(&self, hour: Hour, end: Hour) -> Result<Option<u64>, StoreError> {
        for later in hour.0 + 1..=end.0 {
            let names = names_in(self.store.as_ref(), &self.directory(Hour(later))).await?;
            if let Some(first) = names.iter().find_map(|name| first_of(name)) {
                return Ok(Some(first));
            }
        }
        Ok(None)
    }

    pub(crate) fn directory(&self, hour: Hour) -> String {
        directory(&self.topic, hour, &self.shard)
    }

    /// What the `_SUCCESS` of an hour would say, if the row before it is the one before `expected`.
    async fn survey(&self, hour: Hour, expected: u64) -> Result<Success, StoreError> {
        Ok(Success::of(&self.topic, &self.shard, expected, &self.footers(hour).await?))
    }

    /// Of an hour's files, in the order of their names.
    async fn footers(&self, hour: Hour) -> Result<Vec<Footer>, StoreError> {
        let directory = self.directory(hour);
        let mut footers = Vec::new();
        for name in self.store.list(&directory).await?.iter().filter(|n| n.ends_with(".parquet")) {
            let path = format!("{directory}/{name}");
            let found = match find(self.store.as_ref(), &path).await {
                Err(e) if e.is_obstacle() => Found::Foreign(e.to_string()),
                found => found?.0,
            };
            match found {
                Found::File(footer) if footer.shard == self.shard.as_str() && file_name(footer.first) == *name => {
                    footers.push(footer)
                }
                Found::Broken(why) if first_of(name).is_some() => {
                    return Err(Trouble::passing(Passing::Other, why).at("read", path.as_str()).reading(&path));
                }
                // The rows that come are not held up by it.
                _ => tracing::error!(
                    path,
                    "this is no file that Greyhound wrote there: _SUCCESS will not tell of it; move it out of the table"
                ),
            }
        }
        Ok(footers)
    }

    /// Writes the `_SUCCESS` of an hour. One that an attempt made whose answer was lost stays, one that is no longer
    /// right goes.
    async fn mark(&mut self, hour: Hour, success: Success) -> Result<(), StoreError> {
        let path = format!("{}/{SUCCESS}", self.directory(hour));
        if self.staging.place(success.text(&path)?, &path).await? == Published::Done {
            return Ok(());
        }
        let Some(there) =
            Success::read(self.store.as_ref(), &self.directory(hour)).await?.filter(|it| it.is_of(&success))
        else {
            let why = "it is not Greyhound's, or not whole";
            return Err(Trouble::passing(Passing::Other, why).at("read", path.as_str()).reading(&path));
        };
        let right = Success { compacted: there.compacted, uncompacted: there.uncompacted, ..success };
        if right != there {
            self.store.remove(&path).await?;
            self.staging.place(right.text(&path)?, &path).await?;
        }
        Ok(())
    }

    async fn newest_first(&self, path: &str, prefix: &str) -> Result<Vec<String>, StoreError> {
        let mut names = names_in(self.store.as_ref(), path).await?;
        names.retain(|n| n.starts_with(prefix));
        names.sort_unstable_by(|a, b| b.cmp(a));
        Ok(names)
    }
}

impl Success {
    /// Of an hour with these files, in the order of their names, whose first row would be `expected`.
    fn of(topic: &str, shard: &Shard, expected: u64, footers: &[Footer]) -> Self {
        let mut ranges: Vec<(u64, u64)> = footers.iter().flat_map(Footer::ranges).collect();
        ranges.sort_unstable();
        let (mut next, mut gaps) = (expected, Vec::new());
        for (first, last) in &ranges {
            if *first > next {
                gaps.push((next, first - 1));
            }
            next = next.max(last + 1);
        }
        Self {
            topic: topic.to_owned(),
            shard: shard.to_string(),
            rows: footers.iter().map(|footer| footer.rows).sum(),
            first: ranges.first().map(|range| range.0),
            last: ranges.iter().map(|range| range.1).max(),
            next,
            files: footers.iter().map(|footer| (footer.first, footer.last)).collect(),
            gaps,
            compacted: false,
            uncompacted: None,
        }
    }

    fn text(&self, path: &str) -> Result<Bytes, StoreError> {
        Ok(serde_json::to_vec_pretty(self).map_err(|e| Trouble::passing(Passing::Other, e).at("encode", path))?.into())
    }

    fn is_of(&self, other: &Self) -> bool {
        (&self.topic, &self.shard) == (&other.topic, &other.shard)
    }

    /// What the one in `directory` says; `None` where there is none, or not a whole one.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn read(store: &dyn Store, directory: &str) -> Result<Option<Self>, StoreError> {
        let path = format!("{directory}/{SUCCESS}");
        let text = store.read_tail(&path, SUCCESS_BYTES).await.map_err(|e| e.reading(&path))?;
        Ok(text.and_then(|(text, _)| serde_json::from_slice(&text).ok()))
    }

    /// The names of the files.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.files.iter().map(|(first, _)| file_name(*first))
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

    impl Hours {
        /// Closes all hours before `end`.
        pub(crate) async fn close_all_before(&mut self, end: Hour) {
            while let Some(closing) = self.oldest_open(end).await.unwrap() {
                if let Err(e) = self.close(&closing, None).await {
                    // As the table's writer, which moves it away.
                    self.store.remove(&e.unreadable.unwrap()).await.unwrap();
                }
            }
        }
    }

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
            hours.close_all_before(Hour(hour)).await;
        }
        let is_closed = |hour| home.path().join(directory("t", Hour(hour), &Shard::new("n", 1))).join(SUCCESS).exists();
        assert!(is_closed(leapt) && !is_closed(10) && !is_closed(leapt - 1));
    }
}
