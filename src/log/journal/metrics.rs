//! The journal's metrics.

/// Bytes written, counter.
pub const BYTES: &str = "greyhound_journal_bytes_total";
/// Frames of rows and holes written, counter.
pub const FRAMES: &str = "greyhound_journal_frames_total";
/// How long a sync took, seconds, histogram.
pub const SYNC_SECONDS: &str = "greyhound_journal_sync_seconds";
/// Writes and syncs that failed, counter.
pub const FAILURES: &str = "greyhound_journal_failures_total";
/// Damaged places found, when opening or reading, counter.
pub const DAMAGED: &str = "greyhound_journal_damaged_total";
/// Bytes that the journal holds, gauge.
pub const SIZE_BYTES: &str = "greyhound_journal_size_bytes";
/// Segments that the journal holds, gauge.
pub const SEGMENTS: &str = "greyhound_journal_segments";

/// Tells the exporter what each metric is.
pub(super) fn describe() {
    use ::metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_counter!(BYTES, Unit::Bytes, "Bytes written to the journal.");
    describe_counter!(FRAMES, "Frames of rows and holes written.");
    describe_histogram!(SYNC_SECONDS, Unit::Seconds, "How long a sync took.");
    describe_counter!(FAILURES, "Writes and syncs that failed.");
    describe_counter!(DAMAGED, "Damaged places found.");
    describe_gauge!(SIZE_BYTES, Unit::Bytes, "Bytes that the journal holds.");
    describe_gauge!(SEGMENTS, "Segments that the journal holds.");
}
