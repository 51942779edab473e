//! The write side of a topic.

use super::core::Core;
use super::queue::Rejected;
use arrow_array::RecordBatch;
use async_trait::async_trait;
use greyhound_sdk::publisher::Writer;
use greyhound_sdk::validity::{MAX_BATCH_BYTES, size};
use greyhound_sdk::{NotDurable, Refused, Share, TopicSchema};
use serde_arrow::ArrayBuilder;
use std::sync::Arc;

/// Publishes to one topic.
pub(super) struct TopicWriter {
    pub(super) core: Arc<Core>,
    pub(super) at: usize,
}

impl TopicWriter {
    fn unfit(&self, why: impl ToString) -> Refused {
        Refused::Schema { topic: self.schema().name().to_owned(), why: why.to_string() }
    }

    fn refused(&self, rejected: Rejected, count: u64) -> Refused {
        let topic = self.schema().name().to_owned();
        match rejected {
            Rejected::Shed { first, reason } => {
                Refused::Shed { topic, count, first: Some(first), reason: reason.as_str() }
            }
            Rejected::Ended => Refused::Shed { topic, count, first: None, reason: "the bus is closed" },
            Rejected::Unfit(why) => self.unfit(why),
        }
    }

    /// Returns the batch with the topic's own schema. Refuses rows that the topic's table cannot hold.
    fn fit(&self, rows: RecordBatch) -> Result<RecordBatch, Refused> {
        let rows = self.typed(rows)?;
        self.schema().check(&rows).map_err(|bad| self.unfit(bad))?;
        // Measuring a slice is not free, so it is done only if the underlying memory is large.
        match rows.get_array_memory_size() > MAX_BATCH_BYTES && size(&rows) > MAX_BATCH_BYTES {
            true => Err(self.unfit(format!(
                "a batch is limited to {MAX_BATCH_BYTES} bytes, but this one has {}: publish fewer rows at a time",
                size(&rows)
            ))),
            false => Ok(rows),
        }
    }

    /// Refuses columns of other types, and nulls in columns that are not nullable.
    fn typed(&self, rows: RecordBatch) -> Result<RecordBatch, Refused> {
        if u32::try_from(rows.num_rows()).is_err() {
            return Err(self.unfit("a batch is limited to 4,294,967,295 rows: publish fewer rows at a time"));
        }
        let columns = self.schema().columns();
        if Arc::ptr_eq(rows.schema_ref(), columns) {
            return Ok(rows);
        }
        if let Some((is, must)) =
            rows.schema_ref().fields().iter().zip(columns.fields()).find(|(is, must)| is.name() != must.name())
        {
            return Err(self.unfit(format!("column `{}` is in the place of column `{}`", is.name(), must.name())));
        }
        RecordBatch::try_new(columns.clone(), rows.columns().to_vec()).map_err(|e| self.unfit(e))
    }
}

#[async_trait]
impl Writer for TopicWriter {
    fn schema(&self) -> &Arc<TopicSchema> {
        &self.core.topics[self.at].schema
    }

    fn append(
        &self,
        share: Share<'_>,
        texts: usize,
        push: &mut dyn FnMut(&mut ArrayBuilder) -> serde_arrow::Result<()>,
    ) -> Result<u64, Refused> {
        let client = self.core.clients.of(share);
        self.core.publish(|queue| queue.push(self.at, client, texts, push)).map_err(|e| self.refused(e, 1))
    }

    fn append_batch(&self, rows: RecordBatch) -> Result<u64, Refused> {
        let rows = self.fit(rows)?;
        let count = rows.num_rows() as u64;
        self.core.publish(|queue| queue.push_batch(self.at, rows)).map_err(|e| self.refused(e, count))
    }

    async fn wait_for_room(&self) {
        self.core.wait_for_room().await;
    }

    async fn durable(&self, seq: u64) -> Result<(), NotDurable> {
        self.core.expedite(self.at, seq);
        self.core.topics[self.at].durable(seq).await
    }
}
