//! The gateway's metrics.

/// Sockets that are connected.
pub const CONNECTIONS: &str = "greyhound_messaging_connections";
/// Attempts to authenticate, by `outcome`.
pub const AUTHENTICATIONS: &str = "greyhound_messaging_authentications_total";
/// Messages published.
pub const MESSAGES: &str = "greyhound_messaging_messages_total";
/// Recipients of messages, by `outcome`.
pub const DELIVERIES: &str = "greyhound_messaging_deliveries_total";
/// Events that clients emitted.
pub const PUSHES: &str = "greyhound_messaging_pushes_total";
/// Events of clients that were not authenticated, which nobody listens to.
pub const IGNORED: &str = "greyhound_messaging_ignored_events_total";

pub(crate) fn describe() {
    use metrics::{describe_counter, describe_gauge};
    describe_gauge!(CONNECTIONS, "Sockets that are connected");
    describe_counter!(AUTHENTICATIONS, "Attempts to authenticate");
    describe_counter!(MESSAGES, "Messages published");
    describe_counter!(DELIVERIES, "Recipients of messages");
    describe_counter!(PUSHES, "Events that clients emitted");
    describe_counter!(IGNORED, "Events of clients that were not authenticated");
}
