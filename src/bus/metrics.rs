//! The bus's metrics.

use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

/// Rows made durable, by `topic`.
pub const ROWS: &str = "greyhound_bus_rows_total";
/// Encoded bytes made durable, by `topic`.
pub const BYTES: &str = "greyhound_bus_bytes_total";
/// Groups of frames written, each with one sync.
pub const GROUPS: &str = "greyhound_bus_groups_total";
/// The time that the log took to make one group durable, in seconds.
pub const APPEND_SECONDS: &str = "greyhound_bus_append_seconds";
/// Bytes of accepted rows that are not yet durable.
pub const QUEUE_BYTES: &str = "greyhound_bus_queue_bytes";
/// Rows that were not recorded, by `topic` and `reason`; `greyhound.gap` lists them.
pub const SHED_ROWS: &str = "greyhound_bus_shed_rows_total";
/// Durable rows that a consumer has not committed, by `consumer` and `topic`.
pub const CONSUMER_LAG: &str = "greyhound_bus_consumer_lag_rows";
/// How far the machine's clock is behind the last row, in seconds.
pub const CLOCK_BEHIND: &str = "greyhound_bus_clock_behind_seconds";

/// Registers the descriptions of the metrics.
pub(super) fn describe() {
    describe_counter!(ROWS, "Rows made durable.");
    describe_counter!(BYTES, "Encoded bytes made durable.");
    describe_counter!(GROUPS, "Groups of frames written, each with one sync.");
    describe_histogram!(APPEND_SECONDS, "The time that the log took to make one group durable.");
    describe_gauge!(QUEUE_BYTES, "Bytes of accepted rows that are not yet durable.");
    describe_counter!(SHED_ROWS, "Rows that were not recorded; greyhound.gap lists them.");
    describe_gauge!(CONSUMER_LAG, "Durable rows that a consumer has not committed.");
    describe_gauge!(CLOCK_BEHIND, "How far the machine's clock is behind the last row.");
}

/// The writer thread's metrics of all topics.
pub(super) struct WriterMetrics {
    pub(super) groups: Counter,
    pub(super) append_seconds: Histogram,
    pub(super) queue_bytes: Gauge,
    pub(super) clock_behind: Gauge,
}

impl WriterMetrics {
    pub(super) fn new() -> Self {
        Self {
            groups: counter!(GROUPS),
            append_seconds: histogram!(APPEND_SECONDS),
            queue_bytes: gauge!(QUEUE_BYTES),
            clock_behind: gauge!(CLOCK_BEHIND),
        }
    }
}

/// The writer thread's metrics of one topic.
pub(super) struct TopicMetrics {
    pub(super) rows: Counter,
    pub(super) bytes: Counter,
}

impl TopicMetrics {
    pub(super) fn of(topic: &str) -> Self {
        Self { rows: counter!(ROWS, "topic" => topic.to_owned()), bytes: counter!(BYTES, "topic" => topic.to_owned()) }
    }
}

/// Counts rows that are not recorded.
pub(super) fn shed(topic: &str, reason: &'static str, rows: u64) {
    counter!(SHED_ROWS, "topic" => topic.to_owned(), "reason" => reason).increment(rows);
}

/// Sets the lag of `consumer`.
pub(super) fn lag(consumer: &str, topic: &str, rows: u64) {
    gauge!(CONSUMER_LAG, "consumer" => consumer.to_owned(), "topic" => topic.to_owned()).set(rows as f64);
}
