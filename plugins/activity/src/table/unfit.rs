//! Batches that cannot be encoded, which a journal of an earlier version may have: the table leaves them out, records a
//! gap row, and continues.

use super::fill::join;
use super::{Stop, Table};
use crate::encode::Encoder;
use crate::metrics as names;
use crate::record::Gap;
use crate::roll_policy::Span;
use greyhound_sdk::Batch;
use metrics::counter;
use parquet::errors::ParquetError;
use tokio::time::Instant;

impl Table {
    /// Called if the rows of `span` could not be encoded: has them read again, and each batch encoded by itself, once.
    pub(super) fn sift(&mut self, span: &Span, why: ParquetError) -> Result<(), Stop> {
        if span.end <= self.sift_before {
            return Err(self.unfit(why));
        }
        self.sift_before = self.consumer.position().max(span.end);
        self.consumer.seek(span.first);
        Ok(())
    }

    /// Why a batch cannot be encoded; `None` if it can.
    pub(super) async fn unfit_because(&mut self, batch: &Batch) -> Option<ParquetError> {
        let (schema, encodings, shard) =
            (self.consumer.schema().clone(), self.encodings, self.committer.shard().clone());
        let (batch, span) = (batch.clone(), Span::of(batch, 0, Instant::now()));
        let tried = tokio::task::spawn_blocking(move || {
            let mut encoder = Encoder::new(schema, encodings)?;
            encoder.add(&batch)?;
            encoder.finish(&span, &shard)
        });
        join(tried.await).err()
    }

    /// Leaves out a batch that cannot be encoded, and records it. All rows before it are committed.
    pub(super) async fn set_aside(&mut self, batch: &Batch, why: &ParquetError) -> Result<(), Stop> {
        let (first, last) = (batch.first, batch.end() - 1);
        counter!(names::ROWS_SET_ASIDE, "topic" => self.topic.clone()).increment(last - first + 1);
        if !std::mem::replace(&mut self.has_logged_unfit, true) {
            tracing::error!(
                topic = self.topic,
                shard = %self.committer.shard(),
                first,
                last,
                error = %why,
                "rows cannot be encoded and are left out of the table; greyhound.gap lists them and any that follow"
            );
        }
        // If the bus cannot take it, it records that itself.
        if let Some(gaps) = &self.gaps
            && let Ok(seq) = gaps.offer(&Gap::unfit(&self.topic, batch))
        {
            let _ = gaps.durable(seq).await;
        }
        self.advance(batch.end()).await
    }
}
