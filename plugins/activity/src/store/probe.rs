//! What a store tells of itself, for those who check it.

use super::{Store, StoreError};
use async_trait::async_trait;
use std::time::SystemTime;

/// A store that can be looked at.
#[async_trait]
pub trait Probe: Store {
    /// What answers, for people: a directory of this machine, a NameNode.
    fn shown(&self) -> String;
    /// What is known of a file or a directory; `None` where there is none.
    async fn status(&self, path: &str) -> Result<Option<Status>, StoreError>;
    /// Removes a directory that is empty.
    async fn remove_directory(&self, path: &str) -> Result<(), StoreError>;
    /// The room for a file such as `sample`, were it `size` bytes long.
    async fn room(&self, size: u64, sample: &str) -> Result<Room, StoreError>;
    /// In what a file and a directory that were made just now are not as configured; `None` where nothing can be.
    fn differences(&self, file: &Status, directory: &Status) -> Option<Vec<String>>;
}

/// What is known of a file or a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// When it was changed, by the clock of the store.
    pub modified: SystemTime,
    /// Whose it is.
    pub owner: String,
    /// The group.
    pub group: String,
    /// The permission's bits.
    pub permission: u32,
    /// How often it is kept.
    pub replication: u32,
}

/// The room in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// What sets the limit: a quota and its directory, a disk.
    pub limit: String,
    /// Bytes that are left; `None`: no limit.
    pub free: Option<u64>,
    /// Bytes that the file takes, with all of its copies.
    pub needed: u64,
    /// Files and directories that may still be made; `None`: no limit.
    pub names: Option<u64>,
}
