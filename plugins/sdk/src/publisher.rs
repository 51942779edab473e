//! The write side of a topic.

use crate::TopicSchema;
use arrow_array::RecordBatch;
use async_trait::async_trait;
use serde::Serialize;
use serde_arrow::ArrayBuilder;
use std::sync::Arc;

/// Appends rows to one topic. Cheap to clone.
///
/// A row has its number (`seq`) as soon as it is published, so that later rows can name it; it is
/// durable a little later, when the group that it rides in is written. No row becomes durable before
/// a row that was published earlier to a topic that was declared earlier.
#[derive(Clone)]
pub struct Publisher(Arc<dyn Writer>);

/// How much of the bus's queue, where rows wait for the disk, a row may take: it depends on who causes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share<'a> {
    /// The program itself: all of it.
    Own,
    /// A user, by its id: an eighth. All clients together, users and strangers, have half of the queue.
    User(&'a str),
    /// Somebody who has not authenticated, by address: an eighth. All strangers together have a quarter of the queue.
    Stranger(&'a str),
}

/// What an acknowledgement survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// At most the end of this process: the rows are in the operating system's cache.
    Process,
    /// The end of this process and of this machine: the rows are on this machine's disk.
    Host,
    /// The loss of this machine: the rows are on several.
    Replicated,
}

/// Why rows were not published.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The bus could not take them: its queue is full (the disk is slow or full) or it is closed. The
    /// rows are numbered and recorded as not recorded, in `greyhound.gap`; do not publish them again.
    #[error("topic {topic} shed {count} rows: {reason}")]
    Shed {
        /// The topic.
        topic: String,
        /// How many rows.
        count: u64,
        /// The number that the first of them got; none where the bus is closed.
        first: Option<u64>,
        /// Why.
        reason: &'static str,
    },
    /// The rows do not fit the topic's schema: a mistake in the publisher. Nothing was numbered.
    #[error("a row does not fit the schema of topic {topic}: {why}")]
    Schema {
        /// The topic.
        topic: String,
        /// What does not fit.
        why: String,
    },
}

/// The rows that were waited for will never be durable; `greyhound.gap` names them.
#[derive(Debug, Clone, thiserror::Error)]
#[error("row {seq} of {topic} was lost before it was durable: {reason}")]
pub struct NotDurable {
    /// The topic.
    pub topic: String,
    /// The number of the row.
    pub seq: u64,
    /// Why.
    pub reason: String,
}

/// What stands behind a [`Publisher`].
#[async_trait]
pub trait Writer: Send + Sync + 'static {
    /// The topic's schema.
    fn schema(&self) -> &Arc<TopicSchema>;
    /// Lets `push` add one row to the topic's open batch and returns its number. Never waits. `texts` is how many bytes
    /// the row's texts have, as far as that is known.
    fn append(
        &self,
        share: Share<'_>,
        texts: usize,
        push: &mut dyn FnMut(&mut ArrayBuilder) -> serde_arrow::Result<()>,
    ) -> Result<u64, Refused>;
    /// Appends `rows` and returns the number of the first. Never waits.
    fn append_batch(&self, rows: RecordBatch) -> Result<u64, Refused>;
    /// Waits until the bus's queue has room again.
    async fn room(&self);
    /// Waits until row `seq` is durable; asks the writer not to linger.
    async fn durable(&self, seq: u64) -> Result<(), NotDurable>;
}

impl Publisher {
    /// A publisher on `writer`.
    #[must_use]
    pub fn new(writer: Arc<dyn Writer>) -> Self {
        Self(writer)
    }

    /// The topic's schema.
    #[must_use]
    pub fn schema(&self) -> &Arc<TopicSchema> {
        self.0.schema()
    }

    /// Publishes one row and returns its number, without ever waiting. Rows published singly are
    /// joined into batches on their way to the journal.
    ///
    /// # Errors
    /// [`Refused::Shed`] where the bus is full: a gap is recorded. [`Refused::Schema`] where the row's fields are not
    /// the topic's columns. A value that no table can hold (a number that is the place of no symbol, a time outside of
    /// 1900 to 9999) shows only when the row's batch is complete: the row is then recorded as not recorded.
    pub fn offer<R: Serialize + ?Sized>(&self, row: &R) -> Result<u64, Refused> {
        self.0.append(Share::Own, 0, &mut |columns| columns.push(row))
    }

    /// As [`Publisher::offer`], for a row that a client causes: what is above the client's [`Share`] of the queue is
    /// shed, so that no client keeps the rows of others from being recorded. `texts` is how many bytes the row's texts
    /// have.
    ///
    /// # Errors
    /// As [`Publisher::offer`].
    pub fn offer_from<R: Serialize + ?Sized>(&self, share: Share<'_>, texts: usize, row: &R) -> Result<u64, Refused> {
        self.0.append(share, texts, &mut |columns| columns.push(row))
    }

    /// Publishes a batch of the topic's schema and returns the number of its first row, without ever waiting.
    ///
    /// # Errors
    /// As [`Publisher::offer`]; [`Refused::Schema`] also where a value is one that no table can hold.
    pub fn offer_batch(&self, rows: RecordBatch) -> Result<u64, Refused> {
        self.0.append_batch(rows)
    }

    /// As [`Publisher::offer`], but waits for room first instead of shedding.
    ///
    /// # Errors
    /// [`Refused`] where the row does not fit, or the bus closed meanwhile.
    pub async fn send<R: Serialize + ?Sized + Sync>(&self, row: &R) -> Result<u64, Refused> {
        self.0.room().await;
        self.offer(row)
    }

    /// Waits until row `seq` of this topic is durable at the configured level.
    ///
    /// # Errors
    /// [`NotDurable`] where it was lost; the loss is recorded as a gap.
    pub async fn durable(&self, seq: u64) -> Result<(), NotDurable> {
        self.0.durable(seq).await
    }
}
