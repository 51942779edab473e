//! The host's metrics.

/// How often a failed plugin was restarted, by `plugin`.
pub const RESTARTS: &str = "greyhound_plugin_restarts_total";

pub(super) fn describe() {
    metrics::describe_counter!(RESTARTS, "How often a failed plugin was restarted.");
}
