//! The rows of `greyhound.gap`, which record which rows are missing.

use crate::log::Lost;
use greyhound_sdk::TopicSchema;
use serde::Serialize;

/// The topic that records gaps.
pub const GAP_TOPIC: &str = "greyhound.gap";

/// Returns the schema of `greyhound.gap`.
///
/// # Panics
/// Never: the schema is compiled in, and a test parses it.
#[must_use]
pub fn gap_schema() -> TopicSchema {
    TopicSchema::from_avro(include_str!("../../schemas/greyhound.gap.avsc"))
        .expect("the schema of greyhound.gap is valid")
}

/// Why the bus did not record rows: the values of column `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// The queue was full because rows arrived faster than the disk accepts them.
    Overload,
    /// A client had used up its share of the queue.
    Share,
    /// A row had a value that no table can hold.
    Invalid,
    /// The queue was full because the disk is full.
    DiskFull,
    /// The log could not be written.
    WriteFailed,
    /// The last process did not close the log.
    UncleanStop,
    /// Bytes in the log are not the bytes that were written.
    Damage,
    /// The rows were deleted to stay below the disk cap, before a consumer had read them.
    Retention,
    /// The rows were published while the bus closed.
    Closed,
}

impl Reason {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Overload => "overload",
            Self::Share => "share",
            Self::Invalid => "invalid",
            Self::DiskFull => "disk_full",
            Self::WriteFailed => "write_failed",
            Self::UncleanStop => "unclean_stop",
            Self::Damage => "damage",
            Self::Retention => "retention",
            Self::Closed => "closed",
        }
    }
}

/// One row of `greyhound.gap`.
#[derive(Debug, Serialize)]
pub(super) struct Gap {
    topic: Option<String>,
    first_seq: Option<u64>,
    last_seq: Option<u64>,
    row_count: Option<u64>,
    reason: &'static str,
    from_time: i64,
    to_time: i64,
}

impl Gap {
    /// Creates the gap of the rows `first..=last` of `topic`.
    pub(super) fn of_rows(topic: &str, first: u64, last: u64, reason: Reason, from_time: i64, to_time: i64) -> Self {
        let count = last - first + 1;
        Self {
            topic: Some(topic.to_owned()),
            first_seq: Some(first),
            last_seq: Some(last),
            row_count: Some(count),
            reason: reason.as_str(),
            from_time,
            to_time,
        }
    }

    /// Creates the gap of an unclean stop: rows of any topic that were accepted after the last durable append.
    pub(super) fn unclean_stop(from_time: i64, to_time: i64) -> Self {
        let reason = Reason::UncleanStop.as_str();
        Self { topic: None, first_seq: None, last_seq: None, row_count: None, reason, from_time, to_time }
    }

    /// Creates the gap of rows that the log lost.
    pub(super) fn of_lost(lost: &Lost, reason: Reason) -> Self {
        Self {
            topic: lost.topic.as_deref().map(str::to_owned),
            first_seq: lost.range.map(|r| r.0),
            last_seq: lost.range.map(|r| r.1),
            row_count: lost.range.map(|r| r.1 - r.0 + 1),
            reason: reason.as_str(),
            from_time: lost.from,
            to_time: lost.to,
        }
    }
}
