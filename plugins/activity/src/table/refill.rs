//! Lost rows of a table: writes them again from the journal, and records those that the journal no longer has.

use super::fill::split;
use super::{Open, READ_BYTES, Stop, Table};
use crate::hours::Closing;
use crate::layout::Hour;
use crate::record::{Committed, Gap};
use crate::store::StoreError;
use greyhound_sdk::Batch;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Reading one batch takes no longer; after this, there is only a hole.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

impl Table {
    /// Writes the rows that an hour lacks and the journal has into its directory; whether there were any. All rows
    /// before `next` were committed.
    pub(super) async fn refill(&mut self, closing: &Closing, next: u64) -> Result<bool, Stop> {
        let holes = holes(closing, next);
        if holes.is_empty() {
            return Ok(false);
        }
        let (position, open) = (self.consumer.position(), self.open.take());
        let mut written = Vec::new();
        for (first, last) in holes {
            self.write_again(first, last, Some(closing.hour), &mut written).await?;
        }
        self.consumer.seek(position);
        self.open = open;
        Ok(!written.is_empty())
    }

    /// Writes the rows from `first` to `last` as far as the journal has them; if `hour` is given, only those of that
    /// hour. No file may be open.
    pub(super) async fn write_again(
        &mut self,
        first: u64,
        last: u64,
        hour: Option<Hour>,
        written: &mut Vec<Committed>,
    ) -> Result<(), Stop> {
        let bounds = self.consumer.bounds();
        let from = first.max(bounds.earliest);
        if from > last || from >= bounds.end {
            return Ok(());
        }
        self.consumer.seek(from);
        while self.consumer.position() <= last {
            let Ok(batches) = timeout(READ_TIMEOUT, self.consumer.next(READ_BYTES)).await else { break };
            let is_wanted = |batch: &Batch| batch.first <= last && hour.is_none_or(|hour| Hour::of(batch.time) == hour);
            let (read, mut batches) = (self.consumer.position(), batches?);
            let wanted = batches.iter().take_while(|batch| is_wanted(batch)).count();
            let ends = wanted < batches.len();
            batches.truncate(wanted);
            for mut batch in batches {
                split(&mut batch, last + 1);
                self.add_again(batch, written).await?;
            }
            self.consumer.seek(read);
            if ends {
                break;
            }
        }
        self.put_again(written).await
    }

    async fn add_again(&mut self, batch: Batch, written: &mut Vec<Committed>) -> Result<(), Stop> {
        if self.unfit_because(&batch).await.is_some() {
            return Ok(());
        }
        let is_open = |open: &Open, table: &Self| {
            open.span.takes(&batch)
                && batch.first < open.limit
                && !table.policy.is_due(&open.span, open.encoder.size(), Instant::now())
        };
        if !self.open.as_ref().is_some_and(|open| is_open(open, self)) {
            self.put_again(written).await?;
            self.begin(&batch).await?;
        }
        let open = self.open.as_mut().expect("a file was opened above");
        open.span.end = batch.end();
        self.encode(vec![batch]).await
    }

    async fn put_again(&mut self, written: &mut Vec<Committed>) -> Result<(), Stop> {
        let Some(Open { span, encoder, .. }) = self.open.take() else { return Ok(()) };
        let mut retry = self.retry("reopen hour");
        while let Err(e) = self.hours.unmark(span.hour).await {
            retry.wait(e).await?;
        }
        retry.done();
        let file = self.put(span, encoder).await?;
        self.record(&file).await?;
        self.count(&file);
        tracing::warn!(
            topic = self.topic,
            path = file.path,
            rows = file.rows,
            "the table had lost rows: wrote them again from the journal"
        );
        written.push(file);
        Ok(())
    }

    /// Records the rows that an hour lacks because a file could not be read, and that the journal no longer has.
    pub(super) async fn record_lost(&mut self, closing: &Closing, end: Hour, next: u64) -> Result<(), StoreError> {
        let holes = holes(closing, next);
        let Some(gaps) = self.gaps.clone().filter(|_| !holes.is_empty()) else { return Ok(()) };
        let taken = self.quarantine().first_rows_of(&self.hours.directory(closing.hour)).await?;
        for (first, mut last) in
            holes.into_iter().filter(|(first, last)| taken.iter().any(|it| (*first..=*last).contains(it)))
        {
            if let Some(later) = self.hours.first_after(closing.hour, end).await? {
                last = last.min(later - 1);
            }
            tracing::error!(
                topic = self.topic,
                first,
                last,
                "rows of an unreadable file are lost: the journal no longer has them"
            );
            // If the bus cannot take it, it records that itself.
            if let Ok(seq) = gaps.offer(&Gap::of(&self.topic, first, last, closing.hour)) {
                let _ = gaps.durable(seq).await;
            }
        }
        Ok(())
    }
}

/// The rows before `next` that neither the files of the hour nor those of earlier hours have.
fn holes(closing: &Closing, next: u64) -> Vec<(u64, u64)> {
    let success = &closing.success;
    let tail = (success.next < next).then(|| (success.next, next - 1));
    success.gaps.iter().copied().chain(tail).collect()
}
