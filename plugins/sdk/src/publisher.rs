//! The write side of a topic.

use crate::TopicSchema;
use arrow_array::RecordBatch;
use async_trait::async_trait;
use serde::Serialize;
use serde_arrow::ArrayBuilder;
use std::sync::Arc;

/// Appends rows to one topic. Cheap to clone.
///
/// A row gets its number (`seq`) when it is published, so that later rows can refer to it. It becomes durable a little
/// later, when the group that holds it is written. No row becomes durable before a row that was published earlier to a
/// topic that was declared earlier.
#[derive(Clone)]
pub struct Publisher(Arc<dyn Writer>);

/// Who caused a row. This limits the part of the bus's queue, in which rows wait for the disk, that such rows may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share<'a> {
    /// The program itself: the whole queue.
    Program,
    /// A user, by id: an eighth of the queue. All clients together, users and anonymous ones, may use half.
    User(&'a str),
    /// A client that has not authenticated, by address: an eighth of the queue. All anonymous clients together may use
    /// a quarter.
    Anonymous(&'a str),
}

/// What an acknowledged row survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// The end of this process: the rows are in the operating system's cache.
    Process,
    /// A crash of this machine: the rows are on its disk.
    Host,
    /// The loss of this machine: the rows are on several machines.
    Replicated,
}

/// Why rows were not published.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The bus did not accept the rows: its queue is full, because the disk is slow or full, or it is closed. The rows
    /// have numbers, and `greyhound.gap` records them as missing. Do not publish them again.
    #[error("topic {topic} shed {count} rows: {reason}")]
    Shed {
        /// The topic.
        topic: String,
        /// How many rows were shed.
        count: u64,
        /// The number of the first row; `None` if the bus is closed.
        first: Option<u64>,
        /// The reason, as `greyhound.gap` names it.
        reason: &'static str,
    },
    /// The rows do not fit the topic's schema, which is a fault of the publisher. No number was assigned.
    #[error("a row does not fit the schema of topic {topic}: {why}")]
    Schema {
        /// The topic.
        topic: String,
        /// The fault.
        why: String,
    },
}

/// The awaited row will never be durable; `greyhound.gap` records it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("row {seq} of {topic} was lost before it was durable: {reason}")]
pub struct NotDurable {
    /// The topic.
    pub topic: String,
    /// The number of the row.
    pub seq: u64,
    /// The reason.
    pub reason: String,
}

/// The implementation behind a [`Publisher`].
#[async_trait]
pub trait Writer: Send + Sync + 'static {
    /// Returns the topic's schema.
    fn schema(&self) -> &Arc<TopicSchema>;
    /// Lets `push` add one row to the topic's open batch, and returns the row's number. Never waits. `texts` is the
    /// size of the row's texts in bytes, or 0 if unknown.
    fn append(
        &self,
        share: Share<'_>,
        texts: usize,
        push: &mut dyn FnMut(&mut ArrayBuilder) -> serde_arrow::Result<()>,
    ) -> Result<u64, Refused>;
    /// Appends `rows` and returns the number of the first. Never waits.
    fn append_batch(&self, rows: RecordBatch) -> Result<u64, Refused>;
    /// Waits until the bus's queue has room.
    async fn wait_for_room(&self);
    /// Waits until row `seq` is durable; asks the writer not to linger.
    async fn durable(&self, seq: u64) -> Result<(), NotDurable>;
}

impl Publisher {
    /// Creates a publisher on `writer`.
    #[must_use]
    pub fn new(writer: Arc<dyn Writer>) -> Self {
        Self(writer)
    }

    /// Returns the topic's schema.
    #[must_use]
    pub fn schema(&self) -> &Arc<TopicSchema> {
        self.0.schema()
    }

    /// Publishes one row and returns its number. Never waits. Single rows are joined into batches before they are
    /// written.
    ///
    /// # Errors
    /// [`Refused::Shed`] if the bus's queue is full; a gap is recorded. [`Refused::Schema`] if a column that must not be
    /// null has no field. A field that is no column is left out. A value that no table can hold (a number that is not
    /// the index of a symbol, a time outside 1900 to 9999) is detected only when the row's batch is complete; the row is
    /// then recorded as a gap.
    pub fn offer<R: Serialize + ?Sized>(&self, row: &R) -> Result<u64, Refused> {
        self.0.append(Share::Program, 0, &mut |columns| columns.push(row))
    }

    /// Like [`Publisher::offer`], for a row that a client causes. Rows beyond the client's [`Share`] of the queue are
    /// shed, so that no client prevents the rows of others from being recorded. `texts` is the size of the row's texts
    /// in bytes.
    ///
    /// # Errors
    /// Like [`Publisher::offer`].
    pub fn offer_from<R: Serialize + ?Sized>(&self, share: Share<'_>, texts: usize, row: &R) -> Result<u64, Refused> {
        self.0.append(share, texts, &mut |columns| columns.push(row))
    }

    /// Publishes a batch of the topic's schema and returns the number of its first row. Never waits.
    ///
    /// # Errors
    /// Like [`Publisher::offer`]; [`Refused::Schema`] also if a value is one that no table can hold.
    pub fn offer_batch(&self, rows: RecordBatch) -> Result<u64, Refused> {
        self.0.append_batch(rows)
    }

    /// Like [`Publisher::offer`], but waits for room in the queue first.
    ///
    /// # Errors
    /// [`Refused`] if the row does not fit the schema, the bus was closed meanwhile, or other publishers filled the
    /// queue again.
    pub async fn send<R: Serialize + ?Sized + Sync>(&self, row: &R) -> Result<u64, Refused> {
        self.0.wait_for_room().await;
        self.offer(row)
    }

    /// Waits until row `seq` of this topic is durable at the configured level.
    ///
    /// # Errors
    /// [`NotDurable`] if the row was lost; the loss is recorded as a gap.
    pub async fn durable(&self, seq: u64) -> Result<(), NotDurable> {
        self.0.durable(seq).await
    }
}
