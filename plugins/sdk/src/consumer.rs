//! The read side of a topic.

use crate::TopicSchema;
use arrow_array::RecordBatch;
use async_trait::async_trait;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// Reads one topic of this node's shard, in the order of `seq`, from a durable cursor.
///
/// Delivery is at least once: rows that were not [committed](Consumer::commit) are read again after a restart. A sink
/// that stores its position with its output gets exactly-once results if it [seeks](Consumer::seek) to that position.
pub struct Consumer(Box<dyn Reader>);

/// Where a consumer without a cursor starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the oldest row that is kept. Such a consumer is *required*: retention keeps the rows that it has not
    /// committed.
    Earliest,
    /// At the next row. Retention does not wait for such a consumer, and its cursor is not kept.
    Latest,
}

/// Rows as they were appended, with consecutive numbers from `first` and one append time.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The number of the first row.
    pub first: u64,
    /// When the rows were appended, in microseconds since 1970 UTC. Never decreases within a shard.
    pub time: i64,
    /// The CRC-32C of the batch as stored in the log. It is the same each time the batch is read.
    pub digest: u32,
    /// The rows, in the schema that the topic had when they were appended.
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

/// The range of a topic's durable rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The number of the oldest row that is kept.
    pub earliest: u64,
    /// The number after the newest durable row.
    pub end: u64,
    /// No row from `end` on has an earlier append time (microseconds since 1970 UTC).
    pub floor: i64,
}

/// The log could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read topic {topic} at row {seq}: {why}")]
pub struct ReadError {
    /// The topic.
    pub topic: String,
    /// The consumer's position.
    pub seq: u64,
    /// The cause.
    pub why: String,
}

/// The implementation behind a [`Consumer`].
#[async_trait]
pub trait Reader: Send + 'static {
    /// Returns the topic's schema.
    fn schema(&self) -> &Arc<TopicSchema>;
    /// Returns the number of the next row to read.
    fn position(&self) -> u64;
    /// Moves the position to `seq`.
    fn seek(&mut self, seq: u64);
    /// Returns the range of durable rows.
    fn bounds(&self) -> Bounds;
    /// Waits for rows; see [`Consumer::next`].
    async fn next(&mut self, max_bytes: usize) -> Result<Vec<Batch>, ReadError>;
    /// Makes `next` the durable cursor; see [`Consumer::commit`].
    async fn commit(&mut self, next: u64) -> Result<(), ReadError>;
}

impl Consumer {
    /// Creates a consumer on `reader`.
    #[must_use]
    pub fn new(reader: Box<dyn Reader>) -> Self {
        Self(reader)
    }

    /// Returns the topic's schema as this program declares it. A batch may have an older one.
    #[must_use]
    pub fn schema(&self) -> &Arc<TopicSchema> {
        self.0.schema()
    }

    /// Returns the number of the next row to read.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.0.position()
    }

    /// Moves the position to `seq`.
    pub fn seek(&mut self, seq: u64) {
        self.0.seek(seq);
    }

    /// Returns the range of the topic's durable rows.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        self.0.bounds()
    }

    /// Waits for at least one durable batch, returns batches of about `max_bytes` in total, and moves the position past
    /// them. Cancel-safe.
    ///
    /// If `first` of a batch is greater than the previous position, the rows between are lost or deleted;
    /// `greyhound.gap` lists them.
    ///
    /// # Errors
    /// [`ReadError`] if the log cannot be read. Damaged rows are not an error: they are skipped.
    pub async fn next(&mut self, max_bytes: usize) -> Result<Vec<Batch>, ReadError> {
        self.0.next(max_bytes).await
    }

    /// Makes `next`, the number of the first row that is not yet processed, this consumer's durable cursor.
    ///
    /// # Errors
    /// [`ReadError`] if the cursor cannot be written.
    pub async fn commit(&mut self, next: u64) -> Result<(), ReadError> {
        self.0.commit(next).await
    }
}
