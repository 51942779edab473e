//! The log under the bus: durable, ordered frames of rows, with one writer per shard.
//!
//! [`Log`] is the interface of an engine; the embedded [`journal`] is the default engine. A frame is identified by the
//! writer's own consecutive numbers (`first`, `rows`) within (topic, shard), never by an offset of the engine.
//! Therefore engines whose offsets have holes, such as Kafka with transactions, fit as well.

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

/// Consecutive rows of one topic: the unit of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The topic.
    pub topic: Arc<str>,
    /// The number of the first row, which follows the numbers of the topic's previous frame.
    pub first: u64,
    /// How many numbers the frame uses; at least 1.
    pub rows: u32,
    /// The append time of all its rows in microseconds since 1970 UTC; never earlier than that of an earlier frame.
    pub time: i64,
    /// The rows, or a hole.
    pub body: Body,
}

/// The content of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Rows as an Arrow IPC record batch message without its schema.
    Rows {
        /// [`greyhound_sdk::TopicSchema::fingerprint`] of the rows' schema.
        schema: u64,
        /// The encoded batch.
        batch: Bytes,
    },
    /// Numbers of rows that are not recorded. The hole prevents the numbers from being assigned again.
    Hole,
}

/// A frame read from the log, with the CRC-32C of its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The frame.
    pub frame: Frame,
    /// The verified CRC-32C of the encoded batch; 0 for a hole.
    pub crc: u32,
}

/// The maximum size of a frame's encoded batch.
pub const MAX_BODY_BYTES: usize = 1 << 30;

/// An error of the log. The variants differ in what the caller must do.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A newer writer has taken over this shard. Stop, never retry.
    #[error("a newer writer has taken over the shard; this one must stop")]
    Fenced,
    /// The append may or may not have been applied. Get a new writer and continue after its [`Log::bounds`].
    #[error("the outcome of an append is unknown: {0}")]
    Unknown(String),
    /// Nothing was applied. Retry later.
    #[error("the log cannot accept rows now: {reason}")]
    Retry {
        /// The reason, for the operator.
        reason: String,
        /// Whether the disk or quota is full.
        full: bool,
    },
    /// The log cannot be used; an operator must act.
    #[error("{0}")]
    Fatal(String),
}

/// When rows may be deleted.
#[derive(Debug, Clone)]
pub struct Retention {
    /// Size limit. It does not apply to rows that a required consumer has not committed.
    pub bytes: u64,
    /// Age limit. It does not apply to rows that a required consumer has not committed.
    pub age: Duration,
    /// Hard size limit. It also applies to rows that a required consumer has not committed.
    pub disk_cap: u64,
}

/// Rows of one topic that were deleted or found damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The topic; `None` if unknown.
    pub topic: Option<Arc<str>>,
    /// The first and last lost number; `None` if unknown.
    pub range: Option<(u64, u64)>,
    /// No row is missing before this time (microseconds since 1970 UTC).
    pub from: i64,
    /// No row is missing after this time (microseconds since 1970 UTC).
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

/// The state in which a log was found when it was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Whether the last writer closed the log. If not, rows after `floor` may have been lost.
    pub clean: bool,
    /// Whether the log was created by this open.
    pub new: bool,
    /// The time of the last durable append or floor, in microseconds since 1970 UTC.
    pub floor: i64,
    /// Rows that were found damaged, other than a torn end.
    pub damage: Vec<Lost>,
}

/// An engine that stores the frames of one shard. The suite in `conformance` tests what each method must guarantee.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// Returns what an acknowledged append survives.
    fn durability(&self) -> Durability;
    /// Returns the shard of this log.
    fn shard(&self) -> &Shard;
    /// Returns the state in which the log was found when it was opened.
    fn recovery(&self) -> &Recovery;
    /// Takes over the shard: fences every earlier writer, which can never append again.
    async fn writer(&self) -> Result<Box<dyn LogWriter>, LogError>;
    /// Returns durable frames of `topic` in order, starting at the frame that holds row `from`, or the next one.
    /// Returns about `max_bytes`, but at least one frame; none if no row from there on is durable. Omits holes.
    /// Cancel-safe.
    async fn read(&self, topic: &str, from: u64, max_bytes: usize) -> Result<Vec<Stored>, LogError>;
    /// Returns a consistent view of the durable range of `topic`. For a topic without rows, the numbers are 0 and the
    /// floor is that of the shard.
    fn bounds(&self, topic: &str) -> Bounds;
    /// Returns a counter that changes with every durable append or floor.
    fn changes(&self) -> watch::Receiver<u64>;
    /// Deletes old rows according to `policy`. `required` holds, by topic, the number of the first row that some
    /// consumer still needs. Returns the deleted rows that were still needed.
    async fn retain(
        &self,
        policy: &Retention,
        required: &HashMap<Arc<str>, u64>,
        now: i64,
    ) -> Result<Vec<Lost>, LogError>;
    /// Returns the rows that reads found damaged since the log was opened, or since the last call.
    fn damage(&self) -> Vec<Lost>;
    /// Returns the schema (Avro text) that was registered under `fingerprint`.
    fn schema(&self, topic: &str, fingerprint: u64) -> Option<Arc<str>>;
    /// Returns every schema of `topic` whose rows may be in the log, oldest first.
    fn schemas(&self, topic: &str) -> Vec<Arc<str>>;
    /// Returns the size of the log in bytes.
    fn size(&self) -> u64;
    /// Returns the size of `topic` in bytes.
    fn size_of(&self, topic: &str) -> u64;
}

/// The only writer of a shard. The bus runs it on its own thread, which an append may block.
#[async_trait]
pub trait LogWriter: Send {
    /// Stores a schema durably. Must be called before the first frame with this schema is appended. Idempotent.
    async fn register(&mut self, topic: &str, fingerprint: u64, avro: &str) -> Result<(), LogError>;
    /// Appends a group of frames in order. When it returns, they are durable as [`Log::durability`] says. After a crash
    /// during the append, a prefix of the group may be in the log, but never a later frame without an earlier one.
    async fn append(&mut self, group: &[Frame]) -> Result<(), LogError>;
    /// Durably promises that no later frame has an earlier time than `time`.
    async fn floor(&mut self, time: i64) -> Result<(), LogError>;
    /// Like `append`, but may use the reserved disk space. Only for gaps.
    async fn append_reserved(&mut self, group: &[Frame]) -> Result<(), LogError>;
    /// Flushes the log and marks it as closed, so that the next [`Recovery`] is clean.
    async fn close(self: Box<Self>) -> Result<(), LogError>;
}
