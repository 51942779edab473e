//! The options of the journal.

use std::time::Duration;

/// The options of the journal.
#[derive(Debug, Clone)]
pub struct Options {
    /// The node's name, the first part of the shard of a new journal.
    pub node: String,
    /// When an append is acknowledged.
    pub sync: SyncPolicy,
    /// A segment is followed by the next one when it has reached this many bytes.
    pub segment_size: u64,
}

/// When an append is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncPolicy {
    /// After a sync: acknowledged rows survive a crash of the machine.
    Fsync,
    /// After the write, which is synced within this time: acknowledged rows survive the end of the process.
    Interval(Duration),
    /// After the write: acknowledged rows survive the end of the process, and a crash of the machine only if the
    /// operating system has written them by then.
    Memory,
}
