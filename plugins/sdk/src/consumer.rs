//! The read side of a topic.

use crate::TopicSchema;
use arrow_array::RecordBatch;
use async_trait::async_trait;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// Reads one topic of this node's shard, in the order of `seq`, from a durable cursor.
///
/// At least once: what was not [committed](Consumer::commit) is read again after a restart. A sink
/// that keeps its position with its output is exactly-once: it [seeks](Consumer::seek) there.
pub struct Consumer(Box<dyn Reader>);

/// Where a consumer without a cursor begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the oldest row that is kept. Such a consumer is *required*: retention keeps what it has not read.
    Earliest,
    /// At the next row. For those who watch: retention does not wait for them and their cursor is not kept.
    Latest,
}

/// Rows as they were appended: dense numbers from `first`, one time of append.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The number of the first row.
    pub first: u64,
    /// When the rows were appended, microseconds since 1970 UTC. Never falls within a shard.
    pub time: i64,
    /// The CRC-32C of the batch as the log holds it: the same rows read again have the same.
    pub digest: u32,
    /// The rows, in the topic's schema at the time of their append.
    pub rows: RecordBatch,
}

impl Batch {
    /// The number after the last row.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.first + self.rows.num_rows() as u64
    }

    /// The rows, each as a `T`, whose fields are columns of the topic. An enum is the number of its symbol.
    ///
    /// # Errors
    /// If a field of `T` is not a column or has another type.
    pub fn read<T: DeserializeOwned>(&self) -> serde_arrow::Result<Vec<T>> {
        serde_arrow::from_record_batch(&self.rows)
    }
}

/// What is durable of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The oldest row that is kept.
    pub earliest: u64,
    /// The number after the newest durable row.
    pub end: u64,
    /// No row from `end` on has an earlier time (microseconds since 1970 UTC).
    pub floor: i64,
}

/// The log could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read topic {topic} at {seq}: {why}")]
pub struct ReadError {
    /// The topic.
    pub topic: String,
    /// Where.
    pub seq: u64,
    /// What happened, and what to do.
    pub why: String,
}

/// What stands behind a [`Consumer`].
#[async_trait]
pub trait Reader: Send + 'static {
    /// The topic's schema.
    fn schema(&self) -> &Arc<TopicSchema>;
    /// The number of the next row to read.
    fn position(&self) -> u64;
    /// Continues at `seq`.
    fn seek(&mut self, seq: u64);
    /// What is durable.
    fn bounds(&self) -> Bounds;
    /// Waits for rows; see [`Consumer::next`].
    async fn next(&mut self, max_bytes: usize) -> Result<Vec<Batch>, ReadError>;
    /// Makes `next` the durable cursor; see [`Consumer::commit`].
    async fn commit(&mut self, next: u64) -> Result<(), ReadError>;
}

impl Consumer {
    /// A consumer on `reader`.
    #[must_use]
    pub fn new(reader: Box<dyn Reader>) -> Self {
        Self(reader)
    }

    /// The topic's schema as this program knows it; a batch may have an older one.
    #[must_use]
    pub fn schema(&self) -> &Arc<TopicSchema> {
        self.0.schema()
    }

    /// The number of the next row to read.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.0.position()
    }

    /// Continues at `seq`.
    pub fn seek(&mut self, seq: u64) {
        self.0.seek(seq);
    }

    /// What is durable of the topic.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        self.0.bounds()
    }

    /// The next durable rows: waits for at least one batch, then returns what is there up to about
    /// `max_bytes`, and moves the position behind it. Cancel-safe.
    ///
    /// A batch whose `first` is above the position before it tells of a hole: rows that were lost or
    /// deleted, which `greyhound.gap` names.
    ///
    /// # Errors
    /// [`ReadError`] where the log cannot be read; damage is not an error but a hole.
    pub async fn next(&mut self, max_bytes: usize) -> Result<Vec<Batch>, ReadError> {
        self.0.next(max_bytes).await
    }

    /// Makes `next`, the number of the first row that is not yet processed, this consumer's durable cursor.
    ///
    /// # Errors
    /// [`ReadError`] where the cursor could not be written.
    pub async fn commit(&mut self, next: u64) -> Result<(), ReadError> {
        self.0.commit(next).await
    }
}
