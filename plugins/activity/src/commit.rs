//! Exactly-once commit of one table's files.
//!
//! A data file is its own commit record: its name is a function of its first row alone, and renaming without
//! overwrite is a compare-and-swap on the position. Whatever fails, the file is written again under a new
//! temporary name; where the final name exists, its footer tells whose rows it has.

use crate::encode::{Encoded, Footer};
use crate::roll::Hour;
use crate::store::{Published, Store, StoreError};
use greyhound_sdk::Shard;
use greyhound_sdk::fs::{self, SharedFs};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaDataReader;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// A footer fits into this, as a rule.
const FOOTER_BYTES: usize = 64 << 10;

/// Commits the files of one table.
pub struct Committer {
    store: Arc<dyn Store>,
    fs: SharedFs,
    intent: PathBuf,
    topic: String,
    shard: Shard,
    attempts: u64,
}

/// What is about to be committed: kept locally, so that a restart finds what an attempt left behind.
#[derive(Debug, Serialize, Deserialize)]
struct Intent {
    topic: String,
    shard: String,
    first: u64,
    schema: String,
    temporary: String,
}

/// What came of an attempt to commit.
#[derive(Debug)]
pub enum Outcome {
    /// The file is in the table.
    Committed,
    /// There was a file that begins with this row.
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
    let seconds = u64::try_from(hour.0).unwrap_or(0) * 3600;
    let time = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string();
    format!("{topic}/dt={}/hour={}/shard={shard}", &time[..10], &time[11..13])
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
    /// A committer of `topic`'s table, with its intents in `directory`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, fs: SharedFs, directory: &std::path::Path, topic: &str, shard: Shard) -> Self {
        Self { store, fs, intent: directory.join(format!("{topic}.intent")), topic: topic.to_owned(), shard, attempts: 0 }
    }

    /// Removes what an attempt of an earlier run left behind.
    ///
    /// # Errors
    /// Where the store cannot.
    pub async fn clean_up(&self) -> Result<(), StoreError> {
        let (fs, intent) = (self.fs.clone(), self.intent.clone());
        let read = tokio::task::spawn_blocking(move || fs::read(fs.as_ref(), &intent).ok()).await.unwrap_or(None);
        match read.and_then(|text| serde_json::from_slice::<Intent>(&text).ok()) {
            Some(intent) if intent.shard == self.shard.as_str() => self.store.remove(&intent.temporary).await,
            _ => Ok(()),
        }
    }

    /// Tries once to commit a file. After an error nobody knows whether it is committed: try again.
    ///
    /// # Errors
    /// Where the store, or the local disk, cannot.
    pub async fn attempt(&mut self, file: &Encoded, hour: Hour) -> Result<Outcome, StoreError> {
        self.attempts += 1;
        let first = file.footer.first;
        // Unique over attempts and processes: what an earlier one wrote may still be on its way.
        let temporary = format!("_staging/{}/{}-{first:020}-{}-{}.tmp", self.shard, self.topic, std::process::id(), self.attempts);
        self.intend(file, &temporary).await?;
        let path = format!("{}/{first:020}.parquet", directory(&self.topic, hour, &self.shard));
        let outcome = self.place(file, &temporary, &path).await;
        if !matches!(outcome, Ok(Outcome::Committed)) {
            // It must not take the room that the next attempt needs. Where it cannot go, the next start removes it.
            let _ = self.store.remove(&temporary).await;
        }
        outcome
    }

    async fn place(&self, file: &Encoded, temporary: &str, path: &str) -> Result<Outcome, StoreError> {
        self.store.write(temporary, file.bytes.clone()).await?;
        match self.store.publish(temporary, path).await? {
            Published::Done => Ok(Outcome::Committed),
            Published::Exists => Ok(Outcome::Exists(find(self.store.as_ref(), path).await?)),
        }
    }

    async fn intend(&self, file: &Encoded, temporary: &str) -> Result<(), StoreError> {
        let intent = Intent {
            topic: self.topic.clone(),
            shard: self.shard.to_string(),
            first: file.footer.first,
            schema: file.footer.schema.clone(),
            temporary: temporary.to_owned(),
        };
        let error = |why: String| StoreError { operation: "write intent", path: self.intent.display().to_string(), why };
        let text = serde_json::to_vec(&intent).map_err(|e| error(e.to_string()))?;
        let (fs, path) = (self.fs.clone(), self.intent.clone());
        let written = tokio::task::spawn_blocking(move || fs::replace(fs.as_ref(), &path, &text)).await;
        written.map_err(|e| error(e.to_string()))?.map_err(|e| error(e.to_string()))
    }
}
