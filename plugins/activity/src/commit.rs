//! Exactly-once commit of one table's files.
//!
//! A data file is its own commit record: its name is a function of its first row alone, and renaming without
//! overwrite is a compare-and-swap on the position. Whatever fails, it is looked whether the file is there, and
//! if not, it is written again under a new temporary name; where the final name exists, its footer tells whose
//! rows it has. Where to look after a restart the consumer's cursor says: nothing else is kept.
//!
//! An hour that is closed gets no file any more: its files may have been compacted, and then their names say nothing
//! of the rows between. Where the cursor was lost, what it has of the rows is proved part by part.

use crate::compact::swap::{complete, is_closed};
use crate::encode::{Encoded, Footer};
use crate::roll::Hour;
use crate::store::{Passing, Published, Staging, Store, StoreError, Trouble};
use greyhound_sdk::Shard;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaDataReader;
use std::sync::Arc;

/// A footer fits into this, as a rule.
const FOOTER_BYTES: usize = 64 << 10;

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
}

/// What came of an attempt to commit.
#[derive(Debug)]
pub enum Outcome {
    /// The file is in the table.
    Committed,
    /// There was a file that begins with this row. Of compacted ones, the part is told that does; of an hour that was
    /// closed without this row, [`Found::Foreign`].
    Exists(Found),
}

/// What lies at a path.
#[derive(Debug)]
pub enum Found {
    /// No file (any more).
    Nothing,
    /// A file that has no footer of Greyhound's.
    Foreign,
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

/// What lies at `path` of the store.
///
/// # Errors
/// Where the store cannot tell.
pub async fn find(store: &dyn Store, path: &str) -> Result<Found, StoreError> {
    let mut want = FOOTER_BYTES;
    loop {
        let Some((tail, len)) = store.read_tail(path, want).await? else { return Ok(Found::Nothing) };
        let mut reader = ParquetMetaDataReader::new();
        match reader.try_parse_sized(&tail, len) {
            Err(ParquetError::NeedMoreData(more)) if more > want && want < len as usize => want = more,
            Err(_) => return Ok(Found::Foreign),
            Ok(()) => return Ok(reader.finish().ok().as_ref().and_then(Footer::from_metadata).map_or(Found::Foreign, Found::File)),
        }
    }
}

impl Committer {
    /// A committer of `topic`'s table.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, topic: &str, shard: Shard) -> Self {
        let staging = Staging::new(store.clone(), topic, &shard);
        Self { store, staging, topic: topic.to_owned(), shard, open: None, in_doubt: None }
    }

    /// Tries once to commit a file. After an error nobody knows whether it is committed: try again.
    ///
    /// # Errors
    /// Where the store cannot, or says so.
    pub async fn attempt(&mut self, file: &Encoded, hour: Hour) -> Result<Outcome, StoreError> {
        let first = file.footer.first;
        let place = directory(&self.topic, hour, &self.shard);
        let path = format!("{place}/{}", file_name(first));
        let staging = self.staging.directory().to_owned();
        if self.open != Some(hour) {
            if is_closed(self.store.as_ref(), &staging, &place, hour).await? {
                return Ok(Outcome::Exists(self.find_closed(&place, first).await?));
            }
            self.open = Some(hour);
        }
        if self.in_doubt.replace(first) == Some(first)
            && let found @ (Found::File(_) | Found::Foreign) = self.find_part(&path, first).await?
        {
            return Ok(Outcome::Exists(found));
        }
        let store = self.store.clone();
        let may = async { Ok(!is_closed(store.as_ref(), &staging, &place, hour).await?) };
        let outcome = match self.staging.place_if(file.bytes.clone(), &path, may).await? {
            Published::Done => Outcome::Committed,
            Published::Exists => {
                // Or the hour was closed meanwhile.
                self.open = None;
                Outcome::Exists(self.find_part(&path, first).await?)
            }
        };
        self.in_doubt = None;
        Ok(outcome)
    }

    /// What a closed hour has of the row `first`.
    async fn find_closed(&self, place: &str, first: u64) -> Result<Found, StoreError> {
        let Some(success) = complete(self.store.as_ref(), place).await? else {
            return Err(Trouble::passing(Passing::Other, "the hour is closed, and files are missing in it").at("write to", place));
        };
        match success.files.iter().find(|(begin, end)| (*begin..=*end).contains(&first)) {
            Some((begin, _)) => self.find_part(&format!("{place}/{}", file_name(*begin)), first).await,
            None => Ok(Found::Foreign),
        }
    }

    /// What lies at `path`, and of a compacted file the part of it that has the row `first`.
    async fn find_part(&self, path: &str, first: u64) -> Result<Found, StoreError> {
        Ok(match find(self.store.as_ref(), path).await? {
            Found::File(footer) => footer.part_with(first).map_or(Found::Foreign, Found::File),
            other => other,
        })
    }
}
