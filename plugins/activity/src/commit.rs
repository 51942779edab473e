//! Exactly-once commit of one table's files.
//!
//! A data file is its own commit record: its name is a function of its first row alone, and renaming without
//! overwrite is a compare-and-swap on the position. Whatever fails, it is looked whether the file is there, and
//! if not, it is written again under a new temporary name; where the final name exists, its footer tells whose
//! rows it has. Where to look after a restart the consumer's cursor says: nothing else is kept.
//!
//! An hour that is closed gets no file any more: its files may have been compacted, and then their names say nothing
//! of the rows between. Where the cursor was lost, what it has of the rows is proved part by part.
//!
//! A file ends before the next one that the hour has already ([`Committer::limit`]), as where files and cursors were
//! deleted.

use crate::compact::swap::{complete, is_closed};
use crate::encode::{Appended, Encoded, Footer};
use crate::hours::{SUCCESS, Success};
use crate::read::{Blocking, ReadFailure, StoredFile, metadata};
use crate::roll::Hour;
use crate::store::{Passing, Published, Staging, Store, StoreError, Trouble, names_in};
use greyhound_sdk::Shard;
use std::ops::RangeInclusive;
use std::sync::Arc;
use tokio::task::spawn_blocking;

/// Commits the files of one table.
pub struct Committer {
    store: Arc<dyn Store>,
    staging: Staging,
    topic: String,
    shard: Shard,
    /// An hour that was not closed.
    open: Option<Hour>,
    /// The first row of the file whose last attempt failed: it may have been committed all the same.
    in_doubt: Option<u64>,
    /// The first rows of the files that an hour had when it was looked at first.
    firsts: Option<(Hour, Vec<u64>)>,
}

/// What came of an attempt to commit.
#[derive(Debug)]
pub enum Outcome {
    /// The file is in the table.
    Committed,
    /// There was a file that begins with this row: what it is, and its size in bytes. Of compacted ones, the part is
    /// told that does; of an hour that was closed without this row, [`Found::Closed`].
    Exists(Found, u64),
}

/// What lies at a path.
#[derive(Debug)]
pub enum Found {
    /// No file (any more).
    Nothing,
    /// Something that is not the file of Greyhound's that belongs there: what it is.
    Foreign(String),
    /// No whole Parquet file: why.
    Broken(String),
    /// No file, and the hour is closed.
    Closed,
    /// A file of Greyhound's.
    File(Footer),
}

/// The directory of a shard's files of one hour, below the root of the tables.
#[must_use]
pub fn directory(topic: &str, hour: Hour, shard: &Shard) -> String {
    format!("{topic}/{}/{}/shard={shard}", hour.day(), hour.name())
}

/// The name of the file that begins with the row `first`.
#[must_use]
pub fn file_name(first: u64) -> String {
    format!("{first:020}.parquet")
}

/// The first row of the file that has a name as [`file_name`] gives it.
pub(crate) fn first_of(name: &str) -> Option<u64> {
    let first = name.strip_suffix(".parquet")?.parse().ok()?;
    (file_name(first) == name).then_some(first)
}

/// What lies at `path` of the store, and its size in bytes.
///
/// # Errors
/// Where the store cannot tell.
pub async fn find(store: &dyn Store, path: &str) -> Result<(Found, u64), StoreError> {
    let Some((metadata, length)) = metadata(store, path).await? else { return Ok((Found::Nothing, 0)) };
    let found = match metadata {
        Ok(metadata) => Footer::from_metadata(&metadata).map_or_else(
            || Found::Foreign("it is a Parquet file that Greyhound did not write".to_owned()),
            Found::File,
        ),
        Err(why) => Found::Broken(format!("it is no whole Parquet file ({why})")),
    };
    Ok((found, length))
}

impl Committer {
    /// A committer of `topic`'s table.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, topic: &str, shard: Shard) -> Self {
        let staging = Staging::new(store.clone(), topic, &shard);
        Self { store, staging, topic: topic.to_owned(), shard, open: None, in_doubt: None, firsts: None }
    }

    /// The shard whose files these are.
    #[must_use]
    pub fn shard(&self) -> &Shard {
        &self.shard
    }

    /// The file of `hour` that begins with the row `first`, below the root of the tables.
    #[must_use]
    pub fn path(&self, hour: Hour, first: u64) -> String {
        format!("{}/{}", directory(&self.topic, hour, &self.shard), file_name(first))
    }

    /// Tries once to commit a file. After an error nobody knows whether it is committed: try again.
    ///
    /// # Errors
    /// Where the store cannot, or says so.
    pub async fn attempt(&mut self, file: &Encoded, hour: Hour) -> Result<Outcome, StoreError> {
        let first = file.footer.first;
        let path = self.path(hour, first);
        let place = directory(&self.topic, hour, &self.shard);
        let staging = self.staging.directory().to_owned();
        if self.open != Some(hour) {
            if is_closed(self.store.as_ref(), &staging, &place, hour).await? {
                let (found, bytes) = self.find_closed(&place, first).await?;
                return Ok(Outcome::Exists(found, bytes));
            }
            if let Some((footer, bytes)) = self.find_covering(&place, first).await? {
                return Ok(Outcome::Exists(Found::File(footer), bytes));
            }
            self.open = Some(hour);
        }
        if self.in_doubt.replace(first) == Some(first)
            && let (found @ (Found::File(_) | Found::Foreign(_) | Found::Broken(_)), bytes) =
                self.find_part(&path, first).await?
        {
            return Ok(Outcome::Exists(found, bytes));
        }
        let store = self.store.clone();
        let may = async { Ok(!is_closed(store.as_ref(), &staging, &place, hour).await?) };
        let outcome = match self.staging.place_if(file.bytes.clone(), &path, may).await? {
            Published::Done => {
                self.in_doubt = None;
                Outcome::Committed
            }
            Published::Exists => {
                // Or the hour was closed meanwhile.
                self.open = None;
                let (found, bytes) = self.find_part(&path, first).await?;
                Outcome::Exists(found, bytes)
            }
        };
        Ok(outcome)
    }

    /// The first row of the next file after the row `first` in an hour: no file may have it and those after it again.
    /// What this process commits there itself does not count: that comes in order.
    ///
    /// # Errors
    /// Where the store cannot tell.
    pub async fn limit(&mut self, hour: Hour, first: u64) -> Result<Option<u64>, StoreError> {
        if self.firsts.as_ref().is_none_or(|(at, _)| *at != hour) {
            let names = names_in(self.store.as_ref(), &directory(&self.topic, hour, &self.shard)).await?;
            self.firsts = Some((hour, names.iter().filter_map(|name| first_of(name)).collect()));
        }
        Ok(self.firsts.iter().flat_map(|(_, firsts)| firsts).find(|begin| **begin > first).copied())
    }

    /// The file that has the row `first` in its midst, as where a cursor was lost and the journal begins there.
    async fn find_covering(&self, place: &str, first: u64) -> Result<Option<(Footer, u64)>, StoreError> {
        let Some(path) = self.before(place, first).await? else { return Ok(None) };
        match self.find_part(&path, first).await? {
            (Found::File(part), bytes) => Ok(Some((part, bytes))),
            _ => Ok(None),
        }
    }

    /// The file that begins last before the row `first`.
    async fn before(&self, place: &str, first: u64) -> Result<Option<String>, StoreError> {
        let (names, own) = (self.store.list(place).await?, file_name(first));
        let before = names.iter().rfind(|name| name.ends_with(".parquet") && **name < own);
        Ok(before.map(|name| format!("{place}/{name}")))
    }

    /// What the table has of `rows`, which begin in the midst of a file of `hour` and end in it.
    ///
    /// # Errors
    /// Where the store cannot tell.
    pub async fn appended(&self, hour: Hour, rows: RangeInclusive<u64>) -> Result<Appended, StoreError> {
        let place = directory(&self.topic, hour, &self.shard);
        let Some(path) = self.before(&place, *rows.start()).await? else { return Ok(Appended::default()) };
        let (store, at) = (Blocking::new(self.store.clone()), path.clone());
        let failed = |why: String| Trouble::passing(Passing::Other, why).at("read", path.as_str()).reading(&path);
        match spawn_blocking(move || StoredFile::open(&store, at)?.appended(&rows)).await {
            Ok(Ok(appended)) => Ok(appended),
            Ok(Err(ReadFailure::Store(error))) => Err(error),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// What a closed hour has of the row `first`.
    async fn find_closed(&self, place: &str, first: u64) -> Result<(Found, u64), StoreError> {
        let Some(success) = complete(self.store.as_ref(), place).await?.filter(|success| self.is_own(success)) else {
            let path = format!("{place}/{SUCCESS}");
            let why = "the hour is marked as complete, but not by Greyhound, or files are missing in it";
            return Err(Trouble::passing(Passing::Other, why).at("write beside", path.as_str()).reading(&path));
        };
        match success.files.iter().find(|(begin, end)| (*begin..=*end).contains(&first)) {
            Some((begin, _)) => self.find_part(&format!("{place}/{}", file_name(*begin)), first).await,
            None => Ok((Found::Closed, 0)),
        }
    }

    fn is_own(&self, success: &Success) -> bool {
        (success.topic.as_str(), success.shard.as_str()) == (self.topic.as_str(), self.shard.as_str())
    }

    /// What lies at `path`, of a compacted file the part of it that has the row `first`, and the size of the file.
    async fn find_part(&self, path: &str, first: u64) -> Result<(Found, u64), StoreError> {
        let (found, bytes) = find(self.store.as_ref(), path).await?;
        let part = match found {
            Found::File(footer) if footer.shard != self.shard.as_str() => {
                Found::Foreign(format!("by its footer it has rows of another shard, {}", footer.shard))
            }
            Found::File(footer) => {
                footer.part_with(first).map_or_else(|| Found::Foreign(misnamed(&footer)), Found::File)
            }
            other => other,
        };
        Ok((part, bytes))
    }
}

fn misnamed(footer: &Footer) -> String {
    format!("by its footer it has the rows {} to {}, which do not belong under its name", footer.first, footer.last)
}
