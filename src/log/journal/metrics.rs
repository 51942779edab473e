//! The journal's metrics.

/// Bytes written (counter).
pub const BYTES: &str = "greyhound_journal_bytes_total";
/// Frames of rows and holes written (counter).
pub const FRAMES: &str = "greyhound_journal_frames_total";
/// Duration of a sync in seconds (histogram).
pub const SYNC_SECONDS: &str = "greyhound_journal_sync_seconds";
/// Failed writes and syncs (counter).
pub const FAILURES: &str = "greyhound_journal_failures_total";
/// Damaged ranges found when opening or reading the journal (counter).
pub const DAMAGED: &str = "greyhound_journal_damaged_total";
/// Size of the journal in bytes (gauge).
pub const SIZE_BYTES: &str = "greyhound_journal_size_bytes";
/// Number of segments (gauge).
pub const SEGMENTS: &str = "greyhound_journal_segments";

/// Registers the descriptions of the metrics.
pub(super) fn describe() {
    use ::metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_counter!(BYTES, Unit::Bytes, "Bytes written to the journal.");
    describe_counter!(FRAMES, "Frames of rows and holes written.");
    describe_histogram!(SYNC_SECONDS, Unit::Seconds, "Duration of a sync.");
    describe_counter!(FAILURES, "Failed writes and syncs.");
    describe_counter!(DAMAGED, "Damaged ranges found.");
    describe_gauge!(SIZE_BYTES, Unit::Bytes, "Size of the journal.");
    describe_gauge!(SEGMENTS, "Number of segments.");
}
