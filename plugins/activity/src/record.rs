//! `greyhound.sink`: one row for each committed data file.

use crate::layout::{HOUR_US, Hour};
use greyhound_sdk::{Batch, Bus, Publisher, SchemaError, TopicSchema, UnknownTopic};
use serde::Serialize;
use std::time::Duration;

/// The topic. Its own files are not recorded, because each record would cause another file.
pub const SINK_TOPIC: &str = "greyhound.sink";

/// The bus's topic of missing rows.
pub(crate) const GAP_TOPIC: &str = "greyhound.gap";

/// A row of [`GAP_TOPIC`]: rows that were in an unreadable file and are no longer in the journal, or that cannot be
/// encoded.
#[derive(Serialize)]
pub(crate) struct Gap<'a> {
    topic: &'a str,
    first_seq: u64,
    last_seq: u64,
    row_count: u64,
    reason: &'static str,
    from_time: i64,
    to_time: i64,
}

impl<'a> Gap<'a> {
    /// The rows from `first` to `last`, of `hour`.
    pub(crate) fn of(topic: &'a str, first: u64, last: u64, hour: Hour) -> Self {
        let (from_time, to_time) = (hour.0 * HOUR_US, (hour.0 + 1) * HOUR_US);
        Self {
            topic,
            first_seq: first,
            last_seq: last,
            row_count: last - first + 1,
            reason: "damage",
            from_time,
            to_time,
        }
    }

    /// The rows of a batch that cannot be encoded.
    pub(crate) fn unfit(topic: &'a str, batch: &Batch) -> Self {
        let (first, last) = (batch.first, batch.end() - 1);
        let (from_time, to_time) = (batch.time, batch.time);
        Self {
            topic,
            first_seq: first,
            last_seq: last,
            row_count: last - first + 1,
            reason: "invalid",
            from_time,
            to_time,
        }
    }
}

/// The schema of the topic.
pub(crate) fn schema() -> Result<TopicSchema, SchemaError> {
    TopicSchema::from_avro(include_str!("../../../schemas/greyhound.sink.avsc"))
}

/// Records the files of one table.
pub struct Recorder {
    publisher: Publisher,
    topic: String,
    /// The number of the last row that was published.
    last: Option<u64>,
}

/// A committed file.
#[derive(Debug)]
pub struct Committed {
    /// Its path, below the root of the tables.
    pub path: String,
    /// The hour of its rows.
    pub hour: Hour,
    /// The number of its first row.
    pub first: u64,
    /// The number of its last row.
    pub last: u64,
    /// The number of rows.
    pub rows: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// The number of attempts.
    pub attempts: u32,
    /// How long the commit took.
    pub duration: Duration,
    /// Whether an earlier run had put it in its place.
    pub recovered: bool,
}

#[derive(Serialize)]
struct Row<'a> {
    topic: &'a str,
    file_path: &'a str,
    row_count: u64,
    size_bytes: u64,
    first_seq: u64,
    last_seq: u64,
    hour_time: i64,
    attempts: u32,
    duration_ms: u64,
    recovered: bool,
}

impl Recorder {
    /// A recorder of `topic`'s files; `None` if they are not recorded.
    ///
    /// # Errors
    /// If the bus has no topic `greyhound.sink`.
    pub fn new(bus: &Bus, topic: &str) -> Result<Option<Self>, UnknownTopic> {
        match topic {
            SINK_TOPIC => Ok(None),
            _ => Ok(Some(Self { publisher: bus.publisher(SINK_TOPIC)?, topic: topic.to_owned(), last: None })),
        }
    }

    /// Publishes a row without waiting; if the bus cannot take it, the bus records a gap. Call it before the cursor
    /// passes the file, so that the file is found again after a kill in between.
    pub fn record(&mut self, file: &Committed) {
        let row = Row {
            topic: &self.topic,
            file_path: &file.path,
            row_count: file.rows,
            size_bytes: file.bytes,
            first_seq: file.first,
            last_seq: file.last,
            hour_time: file.hour.0 * HOUR_US,
            attempts: file.attempts,
            duration_ms: u64::try_from(file.duration.as_millis()).unwrap_or(u64::MAX),
            recovered: file.recovered,
        };
        match self.publisher.offer(&row) {
            Ok(seq) => self.last = Some(seq),
            Err(error) => tracing::warn!(topic = self.topic, %error, "a commit is not recorded"),
        }
    }

    /// Waits until all records are durable, or known to be lost.
    pub async fn flush(&self) {
        if let Some(last) = self.last {
            // The bus records losses in greyhound.gap.
            let _ = self.publisher.durable(last).await;
        }
    }
}
