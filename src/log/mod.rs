//! The log under the bus: durable, ordered frames of rows, one writer a shard.
//!
//! [`Log`] is what an engine must do; the embedded [`journal`] is the default engine. The identity of a
//! frame is the writer's own dense numbering (`first`, `rows`) within (topic, shard), never an engine's
//! offset, so that an engine whose offsets have holes (Kafka's transactions, for one) fits as well.

#[cfg(test)]
pub(crate) mod conformance;
pub mod journal;

use async_trait::async_trait;
use bytes::Bytes;
use greyhound_sdk::{Bounds, Durability, Shard};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Consecutive rows of one topic, as one unit of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The topic.
    pub topic: Arc<str>,
    /// The number of the first row: the number after the topic's last frame.
    pub first: u64,
    /// How many numbers it takes; at least 1.
    pub rows: u32,
    /// The time of append of all its rows, microseconds since 1970 UTC; never before an earlier frame's.
    pub time: i64,
    /// The rows, or the word that there are none.
    pub body: Body,
}

/// What a frame holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Rows: an Arrow IPC record batch message without its schema, which has this fingerprint.
    Rows {
        /// [`greyhound_sdk::TopicSchema::fingerprint`] of the rows' schema.
        schema: u64,
        /// The encoded batch.
        batch: Bytes,
    },
    /// Numbers that were given to rows which are not recorded. Keeps the numbers from being given again.
    Hole,
}

/// A frame read back, with the CRC-32C of its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The frame.
    pub frame: Frame,
    /// The CRC-32C of the encoded batch, verified; 0 for a hole.
    pub crc: u32,
}

/// The longest encoded batch of a frame.
pub const MAX_BODY: usize = 1 << 30;

/// What went wrong, by what the caller must do.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A newer writer has taken over this shard: stop, never retry.
    #[error("a newer writer has taken over the shard; this one must stop")]
    Fenced,
    /// The append may or may not have been applied: get a new writer and go on after its [`Log::bounds`].
    #[error("the outcome of an append is unknown: {0}")]
    Unknown(String),
    /// Nothing was applied: try again later.
    #[error("the log cannot take rows now: {reason}")]
    Retry {
        /// Why, in words for the operator.
        reason: String,
        /// Whether the disk (or quota) is full.
        full: bool,
    },
    /// The log cannot be used: an operator must act.
    #[error("{0}")]
    Fatal(String),
}

/// When rows may be deleted.
#[derive(Debug, Clone)]
pub struct Retention {
    /// Keep at most this many bytes, but all that a required consumer has not read.
    pub bytes: u64,
    /// Keep at most this long, but all that a required consumer has not read.
    pub age: Duration,
    /// Never keep more bytes than this, whoever has not read them.
    pub disk_cap: u64,
}

/// Rows of one topic that were deleted or found damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The topic; `None` where the damage does not tell.
    pub topic: Option<Arc<str>>,
    /// The numbers lost, first and last; `None` where unknown.
    pub range: Option<(u64, u64)>,
    /// Nothing is missing before this time (microseconds since 1970 UTC).
    pub from: i64,
    /// Nothing is missing after this time.
    pub to: i64,
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.range {
            Some((first, last)) => write!(f, "rows {first} to {last}")?,
            None => f.write_str("an unknown number of rows")?,
        }
        write!(f, " of {}", self.topic.as_deref().unwrap_or("an unknown topic"))
    }
}

/// What opening a log found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Whether the last writer closed the log. If not, rows after `floor` may have been lost.
    pub clean: bool,
    /// Whether the log was made just now.
    pub new: bool,
    /// The time of the last durable append or floor, microseconds since 1970 UTC.
    pub floor: i64,
    /// Damage in the middle, quarantined.
    pub damage: Vec<Lost>,
}

/// An engine that keeps one shard's frames. See the conformance suite (`conformance`) for what each method must hold.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// What an acknowledged append survives.
    fn durability(&self) -> Durability;
    /// The shard that this log is for.
    fn shard(&self) -> &Shard;
    /// What opening it found.
    fn recovery(&self) -> &Recovery;
    /// Takes over the shard: fences every earlier writer, which can never append again.
    async fn writer(&self) -> Result<Box<dyn LogWriter>, LogError>;
    /// Durable frames of `topic` from the one that holds row `from` (or the next there is), in order, up to about
    /// `max_bytes` but at least one; none where nothing is durable from there on. Holes are left out. Cancel-safe.
    async fn read(&self, topic: &str, from: u64, max_bytes: usize) -> Result<Vec<Stored>, LogError>;
    /// What is durable of `topic`, consistent in itself; all zero for a topic without rows (with the shard's floor).
    fn bounds(&self, topic: &str) -> Bounds;
    /// A counter that changes with every durable append or floor.
    fn changes(&self) -> watch::Receiver<u64>;
    /// Deletes what `policy` lets go. `required` has, by topic, the number of the first row that some
    /// consumer still needs. Returns what had to go although it was needed.
    async fn retain(
        &self,
        policy: &Retention,
        required: &HashMap<Arc<str>, u64>,
        now: i64,
    ) -> Result<Vec<Lost>, LogError>;
    /// Damage that was found since the log was opened, or since the last call: rows that were to be read and are lost.
    fn damage(&self) -> Vec<Lost>;
    /// The schema (Avro text) that was registered under `fingerprint`.
    fn schema(&self, topic: &str, fingerprint: u64) -> Option<Arc<str>>;
    /// Every schema of `topic` whose rows may be in the log, oldest first.
    fn schemas(&self, topic: &str) -> Vec<Arc<str>>;
    /// The bytes that the log holds.
    fn size(&self) -> u64;
    /// The bytes that it holds of `topic`.
    fn size_of(&self, topic: &str) -> u64;
}

/// The one writer of a shard. The bus gives it a thread of its own: an append may block it.
#[async_trait]
pub trait LogWriter: Send {
    /// Makes a schema readable later, durably, before the first frame of it. Idempotent.
    async fn register(&mut self, topic: &str, fingerprint: u64, avro: &str) -> Result<(), LogError>;
    /// Appends a group of frames, in order; durable, at the engine's level, when it returns. After a crash
    /// in the midst a prefix of the group may be there, never a later frame without an earlier one.
    async fn append(&mut self, group: &[Frame]) -> Result<(), LogError>;
    /// Makes durable that no later frame has an earlier time than `time`.
    async fn floor(&mut self, time: i64) -> Result<(), LogError>;
    /// As `append`, for the few rows that tell of gaps: may use the space that is kept in reserve.
    async fn append_reserved(&mut self, group: &[Frame]) -> Result<(), LogError>;
    /// Flushes and marks the log as closed: the next [`Recovery`] is clean.
    async fn close(self: Box<Self>) -> Result<(), LogError>;
}
