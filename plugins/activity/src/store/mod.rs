//! Where tables are kept.

pub mod check;
mod error;
pub mod hdfs;
pub mod local;
mod location;
mod probe;
pub(crate) mod staging;

pub use error::{Failure, Refusal, StoreError, Transient};
pub use location::{HdfsLocation, Location, NotALocation};
pub use probe::{Probe, Room, Status};
pub use staging::Staging;

use async_trait::async_trait;
use bytes::Bytes;
use std::ops::Range;

/// A tree of files with atomic renames. Paths are relative to the root, with `/`.
///
/// Every call has its own time limit. A call may fail although it took effect, or take effect after it failed: after an
/// error, the caller must look before it concludes anything.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Writes a file durably and completely, and creates its parents; replaces an existing file.
    async fn write(&self, path: &str, bytes: Bytes) -> Result<(), StoreError>;
    /// Renames a file or a directory durably unless the new name exists: a compare-and-swap. Creates the parents.
    async fn publish(&self, from: &str, to: &str) -> Result<Published, StoreError>;
    /// The last `max` bytes of a file, and its length; `None` if there is no such file.
    async fn read_tail(&self, path: &str, max: usize) -> Result<Option<(Bytes, u64)>, StoreError>;
    /// These bytes of a file.
    async fn read(&self, path: &str, range: Range<u64>) -> Result<Bytes, StoreError>;
    /// Whether a file or directory exists.
    async fn exists(&self, path: &str) -> Result<bool, StoreError>;
    /// The names in a directory, sorted; empty if there is no such directory. A file in its place is a
    /// [`Refusal::Obstacle`].
    async fn list(&self, path: &str) -> Result<Vec<String>, StoreError>;
    /// Removes a file if it exists.
    async fn remove(&self, path: &str) -> Result<(), StoreError>;
    /// Removes a directory with its content if it exists.
    async fn remove_tree(&self, path: &str) -> Result<(), StoreError>;
}

/// As [`Store::list`], but empty if a file is in the place of the directory.
///
/// # Errors
/// If the store cannot be read.
pub(crate) async fn names_in(store: &dyn Store, path: &str) -> Result<Vec<String>, StoreError> {
    match store.list(path).await {
        Err(e) if e.is_obstacle() => Ok(Vec::new()),
        listed => listed,
    }
}

/// The result of [`Store::publish`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// The file has its new name.
    Done,
    /// The name existed already.
    Exists,
}
