//! Closes a table's hours.

use super::{Stop, Table};
use crate::hours::Closing;
use crate::layout::Hour;
use crate::store::StoreError;
use std::time::Duration;
use tokio::time::Instant;

/// Hours are closed for at most so long at a time: rows must not wait for all hours of a long downtime.
const CLOSING_TIME_MAX: Duration = Duration::from_millis(500);

impl Table {
    /// Has an hour closed again if it was closed.
    pub(super) async fn reopen(&mut self, hour: Hour) -> Result<(), Stop> {
        let mut retry = self.retry("reopen hour");
        while let Err(e) = self.hours.reopen(hour).await {
            retry.wait(e).await?;
        }
        retry.done();
        Ok(())
    }

    /// Closes hours whose rows are all committed: those before the open file's hour, or, if all durable rows are
    /// committed, those before the log's floor.
    pub(super) async fn close_hours(&mut self) -> Result<(), Stop> {
        let bounds = self.consumer.bounds();
        let floor = Hour::of(bounds.floor);
        let is_all_read = |table: &Self| bounds.floor > 0 && table.consumer.position() >= bounds.end;
        if is_all_read(self) && self.open.as_ref().is_some_and(|open| open.span.hour < floor) {
            // The table may have a shorter file of an earlier run; then the remaining rows must be read again.
            self.commit().await?;
        }
        match &self.open {
            Some(open) => self.close_before(open.span.hour, open.span.first).await?,
            None if is_all_read(self) => self.close_before(floor, self.consumer.position()).await?,
            None => {}
        }
        if is_all_read(self) {
            self.compaction.turn(floor).await;
        }
        Ok(())
    }

    /// Closes hours before `end`, the oldest first, until rows must get their turn or the drain is requested. All rows
    /// before `next` are committed.
    async fn close_before(&mut self, end: Hour, next: u64) -> Result<(), Stop> {
        let rows = Instant::now() + CLOSING_TIME_MAX;
        while self.close_next(end, next).await? && Instant::now() < rows && !self.drain.is_requested() {}
        Ok(())
    }

    /// Closes the oldest open hour before `end`, if there is one. All rows before `next` are committed.
    pub(super) async fn close_next(&mut self, end: Hour, next: u64) -> Result<bool, Stop> {
        let mut retry = self.retry("close hour");
        let closed = loop {
            let closing = match self.hours.oldest_open(end).await {
                Ok(Some(closing)) => closing,
                Ok(None) => break None,
                Err(e) => {
                    retry.wait(e).await?;
                    continue;
                }
            };
            if self.refill(&closing, next).await? {
                continue;
            }
            match self.close(&closing, end, next).await {
                Ok(()) => break Some(closing.hour),
                Err(e) => retry.wait(e).await?,
            }
        };
        retry.done();
        self.compaction.closed(closed);
        Ok(closed.is_some())
    }

    async fn close(&mut self, closing: &Closing, end: Hour, next: u64) -> Result<(), StoreError> {
        self.record_lost(closing, end, next).await?;
        self.hours.close(closing, self.compaction.oldest()).await
    }
}
