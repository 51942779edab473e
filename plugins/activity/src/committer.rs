//! Exactly-once commit of one table's files.
//!
//! A data file is its own commit record: its name depends on its first row alone, and a rename that does not overwrite
//! is a compare-and-swap on the position. After any failure, the committer looks for the file, and if it is not there,
//! writes it again under a new temporary name. If the final name exists, the footer says whose rows the file has. After
//! a restart, the consumer's cursor says where to look; no other state is kept.
//!
//! A closed hour gets no further files: its files may have been compacted, and then their names do not tell which rows
//! they have. After a lost cursor, the parts in the footers prove which rows are committed.
//!
//! A file ends before the next file that the hour already has ([`Committer::limit`]); this happens after files and
//! cursors were deleted.

use crate::compact::swap::is_closed;
use crate::encode::{Appended, Encoded, Footer};
use crate::find::{Found, find};
use crate::layout::{Hour, directory, file_name, first_of};
use crate::read::{Blocking, ReadFailure, StoredFile};
use crate::store::{Failure, Published, Staging, Store, StoreError, Transient, names_in};
use crate::success::{SUCCESS, Success, complete};
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
    /// The hour that was last found open.
    open: Option<Hour>,
    /// The first row of the file whose last attempt failed; it may be committed nevertheless.
    in_doubt: Option<u64>,
    /// The first rows of the files that the hour had when it was first listed.
    firsts: Option<(Hour, Vec<u64>)>,
}

/// The result of an attempt to commit.
#[derive(Debug)]
pub enum Outcome {
    /// The file is in the table.
    Committed,
    /// A file with this row exists: what it is, and its size in bytes. For a compacted file this is the part with the
    /// row; for an hour that was closed without this row, [`Found::Closed`].
    Exists(Found, u64),
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

    /// Tries once to commit a file. After an error the file may or may not be committed: try again.
    ///
    /// # Errors
    /// If the store fails.
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
                // Or the hour was closed in the meantime.
                self.open = None;
                let (found, bytes) = self.find_part(&path, first).await?;
                Outcome::Exists(found, bytes)
            }
        };
        Ok(outcome)
    }

    /// The first row of the next file after the row `first` in an hour: no new file may contain that row or later ones.
    /// Files that this process commits do not count, because they come in order.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn limit(&mut self, hour: Hour, first: u64) -> Result<Option<u64>, StoreError> {
        if self.firsts.as_ref().is_none_or(|(at, _)| *at != hour) {
            let names = names_in(self.store.as_ref(), &directory(&self.topic, hour, &self.shard)).await?;
            self.firsts = Some((hour, names.iter().filter_map(|name| first_of(name)).collect()));
        }
        Ok(self.firsts.iter().flat_map(|(_, firsts)| firsts).find(|begin| **begin > first).copied())
    }

    /// The file that contains the row `first` after its own first row. This happens if the cursor was lost and the
    /// journal begins there.
    async fn find_covering(&self, place: &str, first: u64) -> Result<Option<(Footer, u64)>, StoreError> {
        let Some(path) = self.before(place, first).await? else { return Ok(None) };
        match self.find_part(&path, first).await? {
            (Found::File(part), bytes) => Ok(Some((part, bytes))),
            _ => Ok(None),
        }
    }

    /// The last file that begins before the row `first`.
    async fn before(&self, place: &str, first: u64) -> Result<Option<String>, StoreError> {
        let (names, own) = (self.store.list(place).await?, file_name(first));
        let before = names.iter().rfind(|name| name.ends_with(".parquet") && **name < own);
        Ok(before.map(|name| format!("{place}/{name}")))
    }

    /// What the table has of `rows`, which begin within a file of `hour` and end in it.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn appended(&self, hour: Hour, rows: RangeInclusive<u64>) -> Result<Appended, StoreError> {
        let place = directory(&self.topic, hour, &self.shard);
        let Some(path) = self.before(&place, *rows.start()).await? else { return Ok(Appended::default()) };
        let (store, at) = (Blocking::new(self.store.clone()), path.clone());
        let failed = |why: String| Failure::transient(Transient::Other, why).at("read", path.as_str()).reading(&path);
        match spawn_blocking(move || StoredFile::open(&store, at)?.appended(&rows)).await {
            Ok(Ok(appended)) => Ok(appended),
            Ok(Err(ReadFailure::Store(error))) => Err(error),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// What a closed hour has at the row `first`.
    async fn find_closed(&self, place: &str, first: u64) -> Result<(Found, u64), StoreError> {
        let Some(success) = complete(self.store.as_ref(), place).await?.filter(|success| self.is_own(success)) else {
            let path = format!("{place}/{SUCCESS}");
            let why = "the hour is marked as complete, but not by Greyhound, or some of its files are missing";
            return Err(Failure::transient(Transient::Other, why).at("write beside", path.as_str()).reading(&path));
        };
        match success.files.iter().find(|(begin, end)| (*begin..=*end).contains(&first)) {
            Some((begin, _)) => self.find_part(&format!("{place}/{}", file_name(*begin)), first).await,
            None => Ok((Found::Closed, 0)),
        }
    }

    fn is_own(&self, success: &Success) -> bool {
        (success.topic.as_str(), success.shard.as_str()) == (self.topic.as_str(), self.shard.as_str())
    }

    /// What lies at `path`, and the size of the file. For a compacted file, the part that has the row `first`.
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
