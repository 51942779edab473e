//! The sink's metrics, all labelled with `topic`.

/// Rows committed to the table.
pub const ROWS: &str = "greyhound_activity_rows_total";
/// Bytes of Parquet committed.
pub const BYTES: &str = "greyhound_activity_bytes_total";
/// Files committed.
pub const FILES: &str = "greyhound_activity_files_total";
/// Retries of failed calls of the store, also labelled with `operation` and `cause`.
pub const RETRIES: &str = "greyhound_activity_retries_total";
/// The age in seconds of the oldest durable row that is not committed; 0 if there is none.
pub const UNCOMMITTED_AGE: &str = "greyhound_activity_uncommitted_age_seconds";
/// The time to commit a file, in seconds.
pub const COMMIT_SECONDS: &str = "greyhound_activity_commit_seconds";
/// Unreadable files that were moved out of the table.
pub const FILES_SET_ASIDE: &str = "greyhound_activity_files_set_aside_total";
/// Rows that cannot be encoded and were left out of the table.
pub const ROWS_SET_ASIDE: &str = "greyhound_activity_rows_set_aside_total";
/// Closed hours that were compacted.
pub const HOURS_COMPACTED: &str = "greyhound_activity_hours_compacted_total";
/// Days that retention removed.
pub const DAYS_REMOVED: &str = "greyhound_activity_days_removed_total";

pub(crate) fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_counter!(ROWS, "Rows committed to the table");
    describe_counter!(BYTES, Unit::Bytes, "Bytes of Parquet committed");
    describe_counter!(FILES, "Files committed");
    describe_counter!(RETRIES, "Calls of the store that failed and were tried again");
    describe_counter!(FILES_SET_ASIDE, "Files that could not be read and were moved out of the table");
    describe_counter!(ROWS_SET_ASIDE, "Rows that cannot be encoded and were left out of the table");
    describe_counter!(HOURS_COMPACTED, "Closed hours whose files were compacted");
    describe_counter!(DAYS_REMOVED, "Days that were removed because they were too old");
    describe_gauge!(UNCOMMITTED_AGE, Unit::Seconds, "Age of the oldest row that is durable and not committed");
    describe_histogram!(COMMIT_SECONDS, Unit::Seconds, "How long it took to commit a file");
}
