//! What a check of a store asks.

use super::{Store, StoreError};
use async_trait::async_trait;
use std::time::SystemTime;

/// A store that can be checked.
#[async_trait]
pub trait Probe: Store {
    /// What answers, as shown to people: a local directory, a NameNode.
    fn shown(&self) -> String;
    /// The status of a file or a directory; `None` if it does not exist.
    async fn status(&self, path: &str) -> Result<Option<Status>, StoreError>;
    /// Removes an empty directory.
    async fn remove_directory(&self, path: &str) -> Result<(), StoreError>;
    /// The room for a file of `size` bytes that is otherwise like `sample`.
    async fn room(&self, size: u64, sample: &str) -> Result<Room, StoreError>;
    /// How a new file and a new directory differ from the configuration; `None` if nothing can be configured.
    fn differences(&self, file: &Status, directory: &Status) -> Option<Vec<String>>;
}

/// The status of a file or a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// When it was changed, by the store's clock.
    pub modified: SystemTime,
    /// Its owner.
    pub owner: String,
    /// Its group.
    pub group: String,
    /// Its permission bits.
    pub permission: u32,
    /// The number of its copies.
    pub replication: u32,
}

/// The room in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// What limits the room: a quota with its directory, or a disk.
    pub limit: String,
    /// The bytes that are left; `None` without a limit.
    pub free: Option<u64>,
    /// The bytes that the file takes with all its copies.
    pub needed: u64,
    /// The number of files and directories that may still be created; `None` without a limit.
    pub names: Option<u64>,
}
