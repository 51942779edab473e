//! Closes hours: once all rows of an hour are committed, its directory gets a `_SUCCESS`.

use crate::encode::Footer;
use crate::find::{Found, find};
use crate::layout::{Hour, directory, file_name, first_of, parse};
use crate::store::{Failure, Published, Staging, Store, StoreError, Transient, names_in};
use crate::success::{SUCCESS, Success};
use bytes::Bytes;
use greyhound_sdk::Shard;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The name of the file that marks the first hour of a shard.
pub(crate) const FIRST_HOUR: &str = "_FIRST_HOUR";
const FIRST_HOUR_BYTES_MAX: usize = 1 << 10;
/// No real downtime lasts longer; a larger jump means a wrong clock.
pub(crate) const DOWNTIME_HOURS_MAX: i64 = 24 * 366;

/// Closes the hours of one table in order, including empty hours and those of downtimes.
///
/// The first one is the hour of the shard's first row or floor; if all hours of a shard were removed, it begins again
/// like this. A file in its directory marks it before it is closed: after a restart, this file says that the hours from
/// then on must be closed, even if the shard has no rows, and that no older hour of other shards need be read.
pub struct Hours {
    store: Arc<dyn Store>,
    staging: Staging,
    topic: String,
    shard: Shard,
    /// The first hour that is not closed, and the number after the last row before it; `None` before the first row or
    /// floor.
    next: Option<(Hour, u64)>,
    /// The first row that this run writes.
    position: u64,
    /// The shard's newest file when this run began.
    newest: Option<Newest>,
}

/// The newest file of a shard that says which rows the table has.
#[derive(Debug, Clone)]
pub(crate) struct Newest {
    pub(crate) path: String,
    pub(crate) hour: Hour,
    /// The number after the last row that it tells of.
    pub(crate) next: u64,
}

/// The content of the file that marks the first hour, as JSON.
#[derive(Debug, Serialize, Deserialize)]
struct FirstHour {
    /// The number after the last row before the hour.
    next: u64,
}

/// An hour to be closed.
#[derive(Debug, Clone)]
pub struct Closing {
    /// The hour.
    pub hour: Hour,
    /// Its `_SUCCESS`.
    pub success: Success,
}

impl Hours {
    /// The hours of `topic`'s table.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, topic: &str, shard: Shard) -> Self {
        let staging = Staging::new(store.clone(), topic, &shard);
        Self { store, staging, topic: topic.to_owned(), shard, next: None, position: 0, newest: None }
    }

    /// Finds where an earlier run stopped, from the tables alone: lost cursors do no harm. Returns the closed hours
    /// that the earlier run may have left without compaction. This run writes the rows from `position` on.
    ///
    /// A shard that has never written to the table has no directory in staging; then the hours of other shards are not
    /// searched. If somebody cleared staging, a `position` above 0 still says that there was an earlier run.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn resume(&mut self, position: u64) -> Result<Vec<Hour>, StoreError> {
        self.position = position;
        if position == 0 && !self.staging.is_known().await? {
            return Ok(Vec::new());
        }
        let mut oldest_open = None;
        'days: for day in self.newest_first(&self.topic, "dt=").await? {
            for hour in self.newest_first(&format!("{}/{day}", self.topic), "hour=").await? {
                let Some(at) = parse(&day, &hour) else { continue };
                let directory = directory(&self.topic, at, &self.shard);
                let names = names_in(self.store.as_ref(), &directory).await?;
                // An invalid `_SUCCESS` does not count: it does not say which row is next.
                let success = match names.iter().any(|n| n == SUCCESS) {
                    true => Success::read(self.store.as_ref(), &directory).await?,
                    false => None,
                };
                if self.newest.is_none() {
                    self.newest = self.newest_in(at, &names, success.as_ref()).await;
                }
                if let Some(success) = success {
                    let open = at.0 + 1;
                    self.next = Some((Hour(open), success.next));
                    // Versions that did not write this looked back one day.
                    let uncompacted = success.uncompacted.unwrap_or(Hour(at.0 - 23));
                    return Ok((uncompacted.0.max(open - DOWNTIME_HOURS_MAX)..open).map(Hour).collect());
                }
                if !names.is_empty() {
                    oldest_open = Some(at);
                }
                if names.iter().any(|n| n == FIRST_HOUR) {
                    break 'days;
                }
            }
        }
        if let Some(hour) = oldest_open {
            self.next = Some((hour, self.beginning_of(hour).await?));
        }
        Ok(Vec::new())
    }

    /// The shard's newest file, as far as [`Hours::resume`] found one.
    pub(crate) fn newest(&self) -> Option<&Newest> {
        self.newest.as_ref()
    }

    /// The newest file of an hour, or its `success`. A file that cannot be read still has its first row in its name.
    async fn newest_in(&self, hour: Hour, names: &[String], success: Option<&Success>) -> Option<Newest> {
        let directory = self.directory(hour);
        if let Some(success) = success {
            return Some(Newest { path: format!("{directory}/{SUCCESS}"), hour, next: success.next });
        }
        let (first, name) = names.iter().filter_map(|name| Some((first_of(name)?, name))).max()?;
        let path = format!("{directory}/{name}");
        let last = match find(self.store.as_ref(), &path).await {
            Ok((Found::File(footer), _)) => footer.last,
            _ => first,
        };
        Some(Newest { path, hour, next: last + 1 })
    }

    /// The oldest open hour before `end`, if there is one, with its `_SUCCESS` to be.
    ///
    /// # Errors
    /// If the store, or a file of the hour, cannot be read, or the first hour cannot be marked.
    pub async fn oldest_open(&mut self, end: Hour) -> Result<Option<Closing>, StoreError> {
        let (hour, expected) = match self.next {
            Some(next) => next,
            None => self.begin(end).await?,
        };
        if end.0 - hour.0 > DOWNTIME_HOURS_MAX {
            tracing::warn!(
                topic = self.topic,
                hours = end.0 - hour.0,
                "the clock jumped: the hours in between are not marked as complete"
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
        self.staging.place(text(&FirstHour { next: self.position }, &path)?, &path).await?;
        Ok(*self.next.insert((hour, self.position)))
    }

    /// The row with which an hour should begin if the hour before is not closed: that of the file that marks the first
    /// hour, or else the first row that it has.
    async fn beginning_of(&self, hour: Hour) -> Result<u64, StoreError> {
        let directory = self.directory(hour);
        let path = format!("{directory}/{FIRST_HOUR}");
        let marked = self.store.read_tail(&path, FIRST_HOUR_BYTES_MAX).await.map_err(|e| e.reading(&path))?;
        if let Some(FirstHour { next }) = marked.and_then(|(text, _)| serde_json::from_slice(&text).ok()) {
            return Ok(next);
        }
        let names = names_in(self.store.as_ref(), &directory).await?;
        Ok(names.iter().find_map(|name| first_of(name)).unwrap_or(self.position))
    }

    /// Closes an hour: all its rows are committed, and no more will come. `uncompacted` is the oldest closed hour that
    /// is not compacted.
    ///
    /// # Errors
    /// If the store cannot be written, or if something else is in the place of `_SUCCESS`.
    pub async fn close(&mut self, closing: &Closing, uncompacted: Option<Hour>) -> Result<(), StoreError> {
        let Closing { hour, success } = closing;
        let success = Success { uncompacted: Some(uncompacted.unwrap_or(*hour)), ..success.clone() };
        self.mark(*hour, success).await?;
        self.next = Some((Hour(hour.0 + 1), closing.success.next));
        Ok(())
    }

    /// Notes that an hour got a file; if the hour was closed, it will be closed again.
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
            None => self.beginning_of(hour).await?,
        };
        self.next = Some((hour, expected));
        Ok(())
    }

    /// Removes the `_SUCCESS` of a closed hour that will get another file.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub async fn unmark(&self, hour: Hour) -> Result<(), StoreError> {
        match self.next.is_some_and(|(next, _)| hour < next) {
            true => self.store.remove(&format!("{}/{SUCCESS}", self.directory(hour))).await,
            false => Ok(()),
        }
    }

    /// The rows in all files, in order, and the oldest hour that should have a `_SUCCESS` and has none.
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

    /// The first row in the hours after `hour`, up to `end`.
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

    /// The `_SUCCESS` to be of an hour that should begin with the row `expected`.
    async fn survey(&self, hour: Hour, expected: u64) -> Result<Success, StoreError> {
        Ok(Success::of(&self.topic, &self.shard, expected, &self.footers(hour).await?))
    }

    /// The footers of an hour's files, in the order of their names.
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
                    return Err(Failure::transient(Transient::Other, why).at("read", path.as_str()).reading(&path));
                }
                // It must not delay the rows to come.
                _ => tracing::error!(
                    path,
                    "Greyhound did not write this file: _SUCCESS does not list it; move it out of the table"
                ),
            }
        }
        Ok(footers)
    }

    /// Writes the `_SUCCESS` of an hour. A correct one from an attempt whose answer was lost stays; an outdated one is
    /// replaced.
    async fn mark(&mut self, hour: Hour, success: Success) -> Result<(), StoreError> {
        let path = format!("{}/{SUCCESS}", self.directory(hour));
        if self.staging.place(text(&success, &path)?, &path).await? == Published::Done {
            return Ok(());
        }
        let Some(there) =
            Success::read(self.store.as_ref(), &self.directory(hour)).await?.filter(|it| it.is_same_shard(&success))
        else {
            let why = "it is not Greyhound's, or incomplete";
            return Err(Failure::transient(Transient::Other, why).at("read", path.as_str()).reading(&path));
        };
        let right = Success { compacted: there.compacted, uncompacted: there.uncompacted, ..success };
        if right != there {
            self.store.remove(&path).await?;
            self.staging.place(text(&right, &path)?, &path).await?;
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

/// The content of the file at `path`.
fn text(content: &impl Serialize, path: &str) -> Result<Bytes, StoreError> {
    let text =
        serde_json::to_vec_pretty(content).map_err(|e| Failure::transient(Transient::Other, e).at("encode", path));
    Ok(text?.into())
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

    #[tokio::test]
    async fn after_a_clock_that_leapt_hours_are_closed_again() {
        let home = tempfile::tempdir().unwrap();
        let store = Arc::new(LocalStore::new(Arc::new(OsFileSystem), home.path()));
        let mut hours = Hours::new(store, "t", Shard::new("n", 1));
        let leapt = 10 + DOWNTIME_HOURS_MAX + 1;
        for hour in [10, leapt, leapt + 1] {
            hours.close_all_before(Hour(hour)).await;
        }
        let is_closed = |hour| home.path().join(directory("t", Hour(hour), &Shard::new("n", 1))).join(SUCCESS).exists();
        assert!(is_closed(leapt) && !is_closed(10) && !is_closed(leapt - 1));
    }
}
