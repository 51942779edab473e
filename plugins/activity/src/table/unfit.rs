//! Batches that cannot be encoded: an old journal may have some. They are set aside with a gap row, and the table goes
//! on.

use super::{Stop, Table, join};
use crate::encode::Encoder;
use crate::metrics as names;
use crate::record::Gap;
use crate::roll::Span;
use greyhound_sdk::Batch;
use metrics::counter;
use parquet::errors::ParquetError;
use tokio::time::Instant;

impl Table {
    /// After the rows of `span` could not be encoded: they are read again, and each batch is tried by itself, once.
    pub(super) fn sift(&mut self, span: &Span, why: ParquetError) -> Result<(), Stop> {
        if span.end <= self.sift_before {
            return Err(self.unfit(why));
        }
        self.sift_before = self.consumer.position().max(span.end);
        self.consumer.seek(span.first);
        Ok(())
    }

    /// Why a batch cannot be encoded, if it cannot.
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

    /// Goes on after a batch that cannot be encoded. All rows before it are committed.
    pub(super) async fn set_aside(&mut self, batch: &Batch, why: &ParquetError) -> Result<(), Stop> {
        let (first, last) = (batch.first, batch.end() - 1);
        counter!(names::ROWS_SET_ASIDE, "topic" => self.topic.clone()).increment(last - first + 1);
        if !std::mem::replace(&mut self.has_told_unfit, true) {
            tracing::error!(
                topic = self.topic,
                shard = %self.committer.shard(),
                first,
                last,
                error = %why,
                "rows cannot be encoded and are left out of the table; greyhound.gap names them, and others that may follow"
            );
        }
        // What the bus cannot take it records itself.
        if let Some(gaps) = &self.gaps
            && let Ok(seq) = gaps.offer(&Gap::unfit(&self.topic, batch))
        {
            let _ = gaps.durable(seq).await;
        }
        self.advance(batch.end()).await
    }
}
