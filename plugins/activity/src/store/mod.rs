//! Where tables are kept.

pub mod check;
mod error;
pub mod hdfs;
pub mod local;
mod location;
mod probe;
pub(crate) mod staging;

pub use error::{Passing, Refusal, StoreError, Trouble};
pub use location::{HdfsLocation, Location, NotALocation};
pub use probe::{Probe, Room, Status};
pub use staging::Staging;

use async_trait::async_trait;
use bytes::Bytes;
use std::ops::Range;

/// A tree of files with atomic renames. Paths are relative to the root, with `/`.
///
/// Every call ends within a limit of its own, and every call may fail although it was carried out, or be carried out
/// after it has failed: after an error nobody knows, and the caller looks before it concludes anything.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Writes a new file, with its parents, durably and whole; replaces one of that name.
    async fn write(&self, path: &str, bytes: Bytes) -> Result<(), StoreError>;
    /// Renames a file or a directory, durably, unless there is one of the new name: a compare-and-swap. Makes the
    /// parents.
    async fn publish(&self, from: &str, to: &str) -> Result<Published, StoreError>;
    /// The last `max` bytes of a file and its length; `None` where there is none.
    async fn read_tail(&self, path: &str, max: usize) -> Result<Option<(Bytes, u64)>, StoreError>;
    /// These bytes of a file.
    async fn read(&self, path: &str, range: Range<u64>) -> Result<Bytes, StoreError>;
    /// Whether there is a file or directory.
    async fn exists(&self, path: &str) -> Result<bool, StoreError>;
    /// The names in a directory, sorted; none where there is no directory. A file in its place is a
    /// [`Refusal::Obstacle`].
    async fn list(&self, path: &str) -> Result<Vec<String>, StoreError>;
    /// Removes a file, if there is one.
    async fn remove(&self, path: &str) -> Result<(), StoreError>;
    /// Removes a directory and all that is in it, if there is one.
    async fn remove_tree(&self, path: &str) -> Result<(), StoreError>;
}

/// As [`Store::list`]; a file in the place of the directory has no names in it.
///
/// # Errors
/// Where the store cannot tell.
pub(crate) async fn names_in(store: &dyn Store, path: &str) -> Result<Vec<String>, StoreError> {
    match store.list(path).await {
        Err(e) if e.is_obstacle() => Ok(Vec::new()),
        listed => listed,
    }
}

/// What came of [`Store::publish`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// The file has its new name.
    Done,
    /// There was one of that name.
    Exists,
}
