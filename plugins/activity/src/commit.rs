//! Exactly-once commit of one table's files.
//!
//! A data file is its own commit record: its name is a function of its first row alone, and renaming without
//! overwrite is a compare-and-swap on the position. Whatever fails, it is looked whether the file is there, and
//! if not, it is written again under a new temporary name; where the final name exists, its footer tells whose
//! rows it has. Where to look after a restart the consumer's cursor says: nothing else is kept.

use crate::encode::{Encoded, Footer};
use crate::roll::Hour;
use crate::store::{Published, Staging, Store, StoreError};
use greyhound_sdk::Shard;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaDataReader;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// A footer fits into this, as a rule.
const FOOTER_BYTES: usize = 64 << 10;

/// Commits the files of one table.
pub struct Committer {
    store: Arc<dyn Store>,
    staging: Staging,
    topic: String,
    shard: Shard,
    /// The first row of the file whose last attempt failed: it may have been committed all the same.
    in_doubt: Option<u64>,
}

/// What came of an attempt to commit.
#[derive(Debug)]
pub enum Outcome {
    /// The file is in the table.
    Committed,
    /// There was a file that begins with this row: what it is, and its size in bytes.
    Exists(Found, u64),
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
    let seconds = u64::try_from(hour.0).unwrap_or(0) * 3600;
    let time = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string();
    format!("{topic}/dt={}/hour={}/shard={shard}", &time[..10], &time[11..13])
}

/// What lies at `path` of the store.
///
/// # Errors
/// Where the store cannot tell.
pub async fn find(store: &dyn Store, path: &str) -> Result<Found, StoreError> {
    Ok(measure(store, path).await?.0)
}

/// As [`find`], with the size in bytes.
async fn measure(store: &dyn Store, path: &str) -> Result<(Found, u64), StoreError> {
    let mut want = FOOTER_BYTES;
    loop {
        let Some((tail, len)) = store.read_tail(path, want).await? else { return Ok((Found::Nothing, 0)) };
        let mut reader = ParquetMetaDataReader::new();
        match reader.try_parse_sized(&tail, len) {
            Err(ParquetError::NeedMoreData(more)) if more > want && want < len as usize => want = more,
            Err(_) => return Ok((Found::Foreign, len)),
            Ok(()) => {
                let footer = reader.finish().ok().as_ref().and_then(Footer::from_metadata);
                return Ok((footer.map_or(Found::Foreign, Found::File), len));
            }
        }
    }
}

impl Committer {
    /// A committer of `topic`'s table.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, topic: &str, shard: Shard) -> Self {
        let staging = Staging::new(store.clone(), topic, &shard);
        Self { store, staging, topic: topic.to_owned(), shard, in_doubt: None }
    }

    /// The shard whose files these are.
    #[must_use]
    pub fn shard(&self) -> &Shard {
        &self.shard
    }

    /// The file of `hour` that begins with the row `first`, below the root of the tables.
    #[must_use]
    pub fn path(&self, hour: Hour, first: u64) -> String {
        format!("{}/{first:020}.parquet", directory(&self.topic, hour, &self.shard))
    }

    /// Tries once to commit a file. After an error nobody knows whether it is committed: try again.
    ///
    /// # Errors
    /// Where the store cannot, or says so.
    pub async fn attempt(&mut self, file: &Encoded, hour: Hour) -> Result<Outcome, StoreError> {
        let first = file.footer.first;
        let path = self.path(hour, first);
        if self.in_doubt.replace(first) == Some(first)
            && let (found @ (Found::File(_) | Found::Foreign), bytes) = measure(self.store.as_ref(), &path).await?
        {
            return Ok(Outcome::Exists(found, bytes));
        }
        let outcome = match self.staging.place(file.bytes.clone(), &path).await? {
            Published::Done => Outcome::Committed,
            Published::Exists => {
                let (found, bytes) = measure(self.store.as_ref(), &path).await?;
                Outcome::Exists(found, bytes)
            }
        };
        self.in_doubt = None;
        Ok(outcome)
    }
}
