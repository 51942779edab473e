//! Files on their way into a table.

use super::{Published, Store, StoreError};
use crate::failpoint;
use bytes::Bytes;
use greyhound_sdk::Shard;
use std::sync::Arc;

/// Writes one table's files where no reader looks, and publishes them from there.
///
/// No two attempts share a name, over processes and machines: what an earlier one sent may still arrive, and two
/// processes on copies of one data directory must not publish each other's bytes.
pub struct Staging {
    store: Arc<dyn Store>,
    directory: String,
    run: String,
    attempts: u64,
    /// Whether there may be leftovers: of an earlier run, or of an attempt that failed.
    untidy: bool,
}

impl Staging {
    /// The staging directory of a shard's files of `topic`. There are several of one directory where several write to
    /// one table, one after the other.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, topic: &str, shard: &Shard) -> Self {
        let run = getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()));
        Self { store, directory: format!("_staging/{shard}/{topic}"), run: format!("{run:016x}"), attempts: 0, untidy: true }
    }

    /// Writes a file and gives it the name `path`, if no other has it. Tries once.
    ///
    /// # Errors
    /// Where the store cannot, or says so: look what is at `path`, then try again.
    pub async fn place(&mut self, bytes: Bytes, path: &str) -> Result<Published, StoreError> {
        if self.untidy {
            // They must not take the room that this attempt needs.
            self.tidy().await?;
        }
        self.untidy = true;
        self.attempts += 1;
        let temporary = format!("{}/{}-{}.tmp", self.directory, self.run, self.attempts);
        failpoint::pass("write", path);
        self.store.write(&temporary, bytes).await?;
        failpoint::pass("rename", path);
        let published = self.store.publish(&temporary, path).await?;
        failpoint::pass("renamed", path);
        self.untidy = match published {
            Published::Done => false,
            Published::Exists => self.store.remove(&temporary).await.is_err(),
        };
        Ok(published)
    }

    async fn tidy(&mut self) -> Result<(), StoreError> {
        for name in self.store.list(&self.directory).await? {
            self.store.remove(&format!("{}/{name}", self.directory)).await?;
        }
        Ok(())
    }
}
