//! Files and directories on their way into a table, or out of it.

use super::{Published, Store, StoreError};
use crate::failpoint;
use bytes::Bytes;
use greyhound_sdk::Shard;
use std::future::ready;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// What a file on its way ends in.
const TEMPORARY: &str = ".tmp";
/// Where everything is that is on its way: `<shard>/<topic>/<name>`.
pub(crate) const STAGING: &str = "_staging";
/// What in it the names of directories begin with in which a store is tried; when that was follows.
pub(crate) const CHECK: &str = "check-";

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
        Self {
            store,
            directory: format!("{STAGING}/{shard}/{topic}"),
            run: format!("{run:016x}"),
            attempts: 0,
            untidy: true,
        }
    }

    /// Writes a file and gives it the name `path`, if no other has it. Tries once.
    ///
    /// # Errors
    /// Where the store cannot, or says so: look what is at `path`, then try again.
    pub async fn place(&mut self, bytes: Bytes, path: &str) -> Result<Published, StoreError> {
        self.place_if(bytes, path, ready(Ok(true))).await
    }

    /// As [`Staging::place`], if `may`, which is asked when the file is written, says so; else as if another one had
    /// the name.
    ///
    /// # Errors
    /// As [`Staging::place`], and what `may` says.
    pub async fn place_if(
        &mut self,
        bytes: Bytes,
        path: &str,
        may: impl Future<Output = Result<bool, StoreError>> + Send,
    ) -> Result<Published, StoreError> {
        if self.untidy {
            // They must not take the room that this attempt needs.
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

    /// A path in staging that nobody else ever has, ending in `suffix`; [`begun`] tells when it was made.
    pub(crate) fn name(&mut self, suffix: &str) -> String {
        self.attempts += 1;
        format!("{}/{}-{}-{}{suffix}", self.directory, now(), self.run, self.attempts)
    }

    /// Removes what was on its way: nobody can publish it any more.
    ///
    /// # Errors
    /// Where the store cannot: then somebody may.
    pub(crate) async fn tidy(&mut self) -> Result<(), StoreError> {
        for name in self.names().await?.iter().filter(|name| is_temporary(name)) {
            self.store.remove(&format!("{}/{name}", self.directory)).await?;
        }
        Ok(())
    }

    /// Whether this shard has ever written to this table, as far as staging tells.
    pub(crate) async fn is_known(&self) -> Result<bool, StoreError> {
        self.store.exists(&self.directory).await
    }

    /// The names of everything in it.
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

/// When a name in staging was made, by the clock of its maker: seconds since 1970 UTC.
pub(crate) fn begun(name: &str) -> Option<u64> {
    name.split('-').next()?.parse().ok()
}

/// Seconds since 1970 UTC.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
