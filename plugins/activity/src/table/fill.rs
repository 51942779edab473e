//! Fills a table's open file with rows.

use super::{Open, Stop, Table};
use crate::encode::Encoder;
use crate::layout::Hour;
use crate::roll_policy::Span;
use greyhound_sdk::Batch;
use parquet::errors::ParquetError;
use std::collections::VecDeque;
use tokio::time::Instant;

impl Table {
    /// Adds batches to the open file, and commits it where it must end.
    pub(super) async fn take(&mut self, batches: Vec<Batch>) -> Result<(), Stop> {
        let mut run: Vec<Batch> = Vec::new();
        let position = self.consumer.position();
        let mut batches = VecDeque::from(batches);
        while let Some(mut batch) = batches.pop_front() {
            if batch.first < self.sift_before
                && let Some(why) = self.unfit_because(&batch).await
            {
                self.encode(std::mem::take(&mut run)).await?;
                self.commit().await?;
                if self.consumer.position() != position {
                    return Ok(());
                }
                self.set_aside(&batch, &why).await?;
                continue;
            }
            let fits = self.open.as_ref().is_some_and(|open| open.span.takes(&batch) && batch.first < open.limit);
            if !fits {
                self.encode(std::mem::take(&mut run)).await?;
                self.commit().await?;
                if self.consumer.position() != position {
                    // The table already has a file with other rows: continue after its end.
                    return Ok(());
                }
                // Only one; the others are closed at the next check.
                self.close_next(Hour::of(batch.time), batch.first).await?;
                self.begin(&batch).await?;
            }
            let open = self.open.as_mut().expect("a file was opened above");
            if let Some(rest) = split(&mut batch, open.limit) {
                batches.push_front(rest);
            }
            open.span.end = batch.end();
            run.push(batch);
        }
        self.encode(run).await?;
        let is_due =
            self.open.as_ref().is_some_and(|open| self.policy.is_due(&open.span, open.encoder.size(), Instant::now()));
        if is_due { self.commit().await } else { Ok(()) }
    }

    /// Opens a file that begins with `batch`.
    pub(super) async fn begin(&mut self, batch: &Batch) -> Result<(), Stop> {
        let encoder = Encoder::new(self.consumer.schema().clone(), self.encodings).map_err(|e| self.unfit(e))?;
        let span = Span::of(batch, self.consumer.bounds().floor, Instant::now());
        // Within a journal, times never decrease. So the newest file has the rows of another copy of this journal.
        if let Some(newest) = self.hours.newest().filter(|newest| span.first < newest.next && newest.hour < span.hour) {
            return Err(self.stranger(newest.path.clone()));
        }
        let mut retry = self.retry("list");
        let limit = loop {
            match self.committer.limit(span.hour, span.first).await {
                Ok(limit) => break limit.unwrap_or(u64::MAX),
                Err(e) => retry.wait(e).await?,
            }
        };
        retry.done();
        self.open = Some(Open { span, encoder, limit });
        Ok(())
    }

    /// Encodes batches into the open file, on a blocking thread.
    pub(super) async fn encode(&mut self, batches: Vec<Batch>) -> Result<(), Stop> {
        if batches.is_empty() {
            return Ok(());
        }
        let mut open = self.open.take().expect("batches are encoded into an open file");
        let span = open.span;
        let encoded =
            tokio::task::spawn_blocking(move || batches.iter().try_for_each(|b| open.encoder.add(b)).map(|()| open));
        match join(encoded.await) {
            Ok(open) => self.open = Some(open),
            Err(why) => self.sift(&span, why)?,
        }
        Ok(())
    }
}

/// Cuts `batch` before the row `at`, and returns the rest.
pub(super) fn split(batch: &mut Batch, at: u64) -> Option<Batch> {
    let kept = usize::try_from(at.saturating_sub(batch.first)).ok().filter(|kept| *kept < batch.rows.num_rows())?;
    let rows = batch.rows.slice(kept, batch.rows.num_rows() - kept);
    batch.rows = batch.rows.slice(0, kept);
    Some(Batch { first: at, rows, ..batch.clone() })
}

/// Turns a panic of the encoder into its error.
pub(super) fn join<T>(joined: Result<Result<T, ParquetError>, tokio::task::JoinError>) -> Result<T, ParquetError> {
    joined.unwrap_or_else(|e| Err(ParquetError::General(format!("the encoder panicked: {e}"))))
}
