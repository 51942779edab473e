//! When a table's open file is full enough, old enough, or must end.

use greyhound_sdk::Batch;
use serde::{Deserialize, Serialize};
use std::time::{Duration, UNIX_EPOCH};
use tokio::time::Instant;

/// Microseconds of an hour.
pub const HOUR_US: i64 = 3_600_000_000;
/// A file is filled for so long although its rows are late already: catching up after an outage, the tables come nearer
/// in steps of this, and not in many small files.
const LEAST: Duration = Duration::from_secs(10);

/// An hour: hours since 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Hour(pub i64);

impl Hour {
    /// The hour of a time, microseconds since 1970 UTC.
    #[must_use]
    pub fn of(time: i64) -> Self {
        Self(time.div_euclid(HOUR_US))
    }

    /// Its day's directory: `dt=YYYY-MM-DD`.
    #[must_use]
    pub fn day(self) -> String {
        format!("dt={}", &self.text()[..10])
    }

    /// Its own, in its day's: `hour=HH`.
    #[must_use]
    pub fn name(self) -> String {
        format!("hour={}", &self.text()[11..13])
    }

    fn text(self) -> String {
        let seconds = u64::try_from(self.0).unwrap_or(0) * 3600;
        humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
    }
}

/// When a file is committed.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// At this many encoded bytes.
    pub file_size: usize,
    /// This long after its first row was appended, whether or not more come.
    pub age: Duration,
}

/// The rows that the open file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The number of the first row.
    pub first: u64,
    /// The number after the last row.
    pub end: u64,
    /// The hour of all its rows.
    pub hour: Hour,
    /// How many columns its rows came with: schemas only ever gain columns.
    pub columns: usize,
    /// When its first row was read.
    pub since: Instant,
    /// How long before that it was appended.
    pub late: Duration,
}

impl Span {
    /// The span of one batch, read at `now`, when the log's floor was `floor` (microseconds since 1970 UTC).
    #[must_use]
    pub fn of(batch: &Batch, floor: i64, now: Instant) -> Self {
        let late = Duration::from_micros(u64::try_from(floor - batch.time).unwrap_or(0));
        Self {
            first: batch.first,
            end: batch.end(),
            hour: Hour::of(batch.time),
            columns: batch.rows.num_columns(),
            since: now,
            late,
        }
    }

    /// Whether a batch can go on in the same file: no hole, same hour, same schema.
    #[must_use]
    pub fn takes(&self, batch: &Batch) -> bool {
        self.end == batch.first && self.hour == Hour::of(batch.time) && self.columns == batch.rows.num_columns()
    }
}

impl Policy {
    /// Whether the file must be committed now.
    #[must_use]
    pub fn is_due(&self, span: &Span, bytes: usize, now: Instant) -> bool {
        bytes >= self.file_size || now >= self.deadline(span)
    }

    /// When the file must be committed at the latest.
    #[must_use]
    pub fn deadline(&self, span: &Span) -> Instant {
        span.since + self.age.saturating_sub(span.late).max(LEAST.min(self.age))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_are_late_are_not_kept_waiting() {
        let policy = Policy { file_size: 1, age: Duration::from_secs(55) };
        let now = Instant::now();
        let wait = |late: u64, policy: &Policy| {
            let span =
                Span { first: 0, end: 1, hour: Hour(0), columns: 1, since: now, late: Duration::from_secs(late) };
            (policy.deadline(&span) - now).as_secs()
        };
        assert_eq!([0, 5, 50, 3600].map(|late| wait(late, &policy)), [55, 50, 10, 10]);
        let fresh = Policy { age: Duration::from_secs(2), ..policy };
        assert_eq!([0, 1, 3600].map(|late| wait(late, &fresh)), [2, 2, 2]);
    }
}
