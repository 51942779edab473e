//! Moves files that cannot be read out of the tables, so that one file does not stop its table for good.
//!
//! Nothing is deleted: `<path>` becomes `_damaged/<path>.<seconds since 1970>`, for an operator to look at. When the
//! hour is closed, its rows are written again from the journal, or recorded as missing (see `table/refill.rs`).

use crate::metrics as names;
use crate::store::staging::now;
use crate::store::{Published, Staging, Store, StoreError, names_in};
use bytes::Bytes;
use greyhound_sdk::Shard;
use metrics::counter;
use std::sync::Arc;

/// The directory of files that could not be read, below the root of the tables.
pub(crate) const DAMAGED: &str = "_damaged";

/// Moves files of one shard's table out of it.
pub(crate) struct Quarantine {
    store: Arc<dyn Store>,
    staging: Staging,
    topic: String,
}

impl Quarantine {
    pub(crate) fn new(store: Arc<dyn Store>, topic: &str, shard: &Shard) -> Self {
        let staging = Staging::new(store.clone(), topic, shard);
        Self { store, staging, topic: topic.to_owned() }
    }

    /// Whether a new file can be written and read back: then the file is damaged, not the store.
    pub(crate) async fn store_works(&mut self) -> bool {
        let path = self.staging.name(".tmp");
        let content = Bytes::from_static(b"to see whether files can be written and read");
        let written = self.store.write(&path, content.clone()).await;
        let read = self.store.read_tail(&path, content.len()).await;
        let removed = self.store.remove(&path).await;
        written.and(removed).is_ok() && read.is_ok_and(|it| it.is_some_and(|(found, _)| found == content))
    }

    /// Moves `file` out of the table, and logs it.
    ///
    /// # Errors
    /// If the store fails; then the file is still there.
    pub(crate) async fn move_away(&self, file: &str, why: &str) -> Result<(), StoreError> {
        let to = format!("{DAMAGED}/{file}.{}", now());
        if self.store.publish(file, &to).await? == Published::Done {
            counter!(names::FILES_SET_ASIDE, "topic" => self.topic.clone()).increment(1);
            tracing::error!(
                topic = self.topic,
                file,
                moved_to = to,
                why,
                "a file of the table cannot be read and was moved out of it; when the hour is closed, rows that the journal still has are written again, and others get a row in greyhound.gap"
            );
        }
        Ok(())
    }

    /// The first rows of the files that were moved out of an hour's `directory`.
    pub(crate) async fn first_rows_of(&self, directory: &str) -> Result<Vec<u64>, StoreError> {
        let names = names_in(self.store.as_ref(), &format!("{DAMAGED}/{directory}")).await?;
        Ok(names.iter().filter_map(|name| name.split_once(".parquet")?.0.parse().ok()).collect())
    }
}
