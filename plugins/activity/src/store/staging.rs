//! `_staging`: files and directories that are on their way into a table, or out of it.

use super::{Published, Store, StoreError};
use crate::failpoint;
use bytes::Bytes;
use greyhound_sdk::Shard;
use std::future::ready;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// The suffix of a file on its way into a table.
const TEMPORARY: &str = ".tmp";
/// The directory of everything on its way: `<shard>/<topic>/<name>`.
pub(crate) const STAGING: &str = "_staging";
/// The prefix of directories in it in which a store is checked; the time of the check follows.
pub(crate) const CHECK: &str = "check-";

/// Writes one table's files where no reader looks, and publishes them from there.
///
/// No two attempts share a name, even between processes and machines: calls of an earlier attempt may still take
/// effect, and two processes on copies of a data directory must not publish each other's bytes.
pub struct Staging {
    store: Arc<dyn Store>,
    directory: String,
    run: String,
    attempts: u64,
    /// Whether there may be leftovers of an earlier run or of a failed attempt.
    untidy: bool,
}

impl Staging {
    /// The staging directory of a shard's files of `topic`. The parts of a table's writer that write one after the
    /// other each have their own instance for the same directory.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, topic: &str, shard: &Shard) -> Self {
        let run = getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()));
        Self {
            store,
            directory: format!("{STAGING}/{shard}/{topic}"),
            run: format!("{run:016x}"),
            attempts: 0,
            untidy: true,
        }
    }

    /// Writes a file and gives it the name `path` unless that exists. Tries once.
    ///
    /// # Errors
    /// If the store fails: look what is at `path`, then try again.
    pub async fn place(&mut self, bytes: Bytes, path: &str) -> Result<Published, StoreError> {
        self.place_if(bytes, path, ready(Ok(true))).await
    }

    /// As [`Staging::place`] if `may`, which is asked once the file is written, is true; otherwise as if the name
    /// existed.
    ///
    /// # Errors
    /// Those of [`Staging::place`] and of `may`.
    pub async fn place_if(
        &mut self,
        bytes: Bytes,
        path: &str,
        may: impl Future<Output = Result<bool, StoreError>> + Send,
    ) -> Result<Published, StoreError> {
        if self.untidy {
            // Leftovers must not take the room that this attempt needs.
            self.tidy().await?;
        }
        self.untidy = true;
        let temporary = self.name(TEMPORARY);
        failpoint::pass("write", path);
        self.store.write(&temporary, bytes).await?;
        failpoint::pass("rename", path);
        let published = match may.await? {
            true => self.store.publish(&temporary, path).await?,
            false => Published::Exists,
        };
        failpoint::pass("renamed", path);
        self.untidy = match published {
            Published::Done => false,
            Published::Exists => self.store.remove(&temporary).await.is_err(),
        };
        Ok(published)
    }

    /// A path in staging that is never used again and ends in `suffix`; [`begun`] reads its time.
    pub(crate) fn name(&mut self, suffix: &str) -> String {
        self.attempts += 1;
        format!("{}/{}-{}-{}{suffix}", self.directory, now(), self.run, self.attempts)
    }

    /// Removes all files on their way into the table, so that nobody can publish them any more.
    ///
    /// # Errors
    /// If the store fails; then somebody may still publish them.
    pub(crate) async fn tidy(&mut self) -> Result<(), StoreError> {
        for name in self.names().await?.iter().filter(|name| is_temporary(name)) {
            self.store.remove(&format!("{}/{name}", self.directory)).await?;
        }
        Ok(())
    }

    /// Whether this shard has ever written to this table, judging by staging.
    pub(crate) async fn is_known(&self) -> Result<bool, StoreError> {
        self.store.exists(&self.directory).await
    }

    /// All names in the directory.
    pub(crate) async fn names(&self) -> Result<Vec<String>, StoreError> {
        self.store.list(&self.directory).await
    }

    pub(crate) fn directory(&self) -> &str {
        &self.directory
    }
}

/// Whether a name in staging is that of a file on its way into a table.
pub(crate) fn is_temporary(name: &str) -> bool {
    name.ends_with(TEMPORARY)
}

/// When a name in staging was made, by its maker's clock: seconds since 1970 UTC.
pub(crate) fn begun(name: &str) -> Option<u64> {
    name.split('-').next()?.parse().ok()
}

/// Seconds since 1970 UTC.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
