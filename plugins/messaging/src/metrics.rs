//! The gateway's metrics.

/// Sockets that are connected.
pub const CONNECTIONS: &str = "greyhound_messaging_connections";
/// Connections of clients, from handshake to end, whatever sockets are on them.
pub const SESSIONS: &str = "greyhound_messaging_sessions";
/// Clients that were refused, by `limit`: connection, address, all (too many have not authenticated, over one
/// connection, from one address, or at all), descriptors (no open file is left for them).
pub const REFUSED_SESSIONS: &str = "greyhound_messaging_refused_sessions_total";
/// From receipt of a message until the kernel, or a poll, has it, seconds, histogram: of one message in 16, and of
/// those that are written at a time the oldest.
pub const DELAY: &str = "greyhound_messaging_delivery_delay_seconds";
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
/// 1 while the cluster is reached, 0 while it is not.
pub const REDIS_UP: &str = "greyhound_messaging_redis_up";
/// How often Redis was lost.
pub const REDIS_OUTAGES: &str = "greyhound_messaging_redis_outages_total";
/// What came from Redis, by `kind`: message, request, malformed.
pub const REDIS_RECEIVED: &str = "greyhound_messaging_redis_received_total";
/// Messages that came from Redis faster than they were handled, and are lost.
pub const REDIS_LOST: &str = "greyhound_messaging_redis_lost_total";
/// Requests of other nodes that were not answered, because too many came.
pub const REDIS_REFUSED: &str = "greyhound_messaging_redis_refused_requests_total";

pub(crate) fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_gauge!(SESSIONS, "Connections of clients, from handshake to end");
    describe_counter!(REFUSED_SESSIONS, "Clients that were refused");
    describe_histogram!(DELAY, Unit::Seconds, "From receipt of a message until the kernel, or a poll, has it");
    describe_gauge!(REDIS_UP, "Whether the cluster is reached");
    describe_counter!(REDIS_OUTAGES, "How often Redis was lost");
    describe_counter!(REDIS_RECEIVED, "What came from Redis");
    describe_counter!(REDIS_LOST, "Messages that came from Redis faster than they were handled, and are lost");
    describe_counter!(REDIS_REFUSED, "Requests of other nodes that were not answered, because too many came");
    describe_gauge!(CONNECTIONS, "Sockets that are connected");
    describe_counter!(AUTHENTICATIONS, "Attempts to authenticate");
    describe_counter!(MESSAGES, "Messages published");
    describe_counter!(DELIVERIES, "Recipients of messages");
    describe_counter!(PUSHES, "Events that clients emitted");
    describe_counter!(IGNORED, "Events of clients that were not authenticated");
}
