//! The host's metrics.

/// How often a plugin failed and was started again, by `plugin`.
pub const RESTARTS: &str = "greyhound_plugin_restarts_total";

pub(super) fn describe() {
    metrics::describe_counter!(RESTARTS, "Plugins that failed and were started again");
}
