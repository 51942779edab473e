//! When a table's open file ends: at its size, its age, or a row that does not fit.

use crate::layout::Hour;
use greyhound_sdk::Batch;
use std::time::Duration;
use tokio::time::Instant;

/// A file is filled for at least so long, even if its rows are already late: catching up after an outage makes a few
/// large files instead of many small ones.
const FILL_TIME_MIN: Duration = Duration::from_secs(10);

/// When a file is committed.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Once it has this many encoded bytes.
    pub file_size: usize,
    /// This long after its first row was appended, even if no more rows come.
    pub age: Duration,
}

/// The rows of the open file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The number of the first row.
    pub first: u64,
    /// The number after the last row.
    pub end: u64,
    /// The hour of all its rows.
    pub hour: Hour,
    /// The number of columns of its rows: schemas only gain columns.
    pub columns: usize,
    /// When its first row was read.
    pub since: Instant,
    /// How long before that the row was appended.
    pub late: Duration,
}

impl Span {
    /// The span of one batch that was read at `now`, when the log's floor was `floor` (microseconds since 1970 UTC).
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

    /// Whether a batch can be added to the same file: no hole, the same hour, the same schema.
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
        span.since + self.age.saturating_sub(span.late).max(FILL_TIME_MIN.min(self.age))
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
