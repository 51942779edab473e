//! The gateway's metrics.

/// Connected sockets.
pub const CONNECTIONS: &str = "greyhound_messaging_connections";
/// Client connections, from handshake to end, regardless of the sockets on them.
pub const SESSIONS: &str = "greyhound_messaging_sessions";
/// Refused clients, by `limit`: `connection`, `address`, `all` (too many unauthenticated clients on one TCP connection,
/// from one address, or in total), `descriptors` (too few file descriptors are left), or a key of
/// `[plugins.messaging.limits]`.
pub const REFUSED_SESSIONS: &str = "greyhound_messaging_refused_sessions_total";
/// Seconds from the receipt of a message until it is passed to the kernel or to a poll. Histogram of one message in 16;
/// if several are written at once, of the oldest.
pub const DELAY: &str = "greyhound_messaging_delivery_delay_seconds";
/// Clients that began to be read more slowly than they send, by `limit`: `client` (of the connection or the user),
/// `address`, or `refusals` (their tokens were refused).
pub const SLOWED: &str = "greyhound_messaging_slowed_clients_total";
/// Bytes that wait for clients, in all write queues together.
pub const QUEUE_BYTES: &str = "greyhound_messaging_queue_bytes";
/// Clients that were disconnected because all write queues together took too much memory.
pub const EVICTED: &str = "greyhound_messaging_evicted_clients_total";
/// Authentication attempts, and ends of the tokens of connected clients, by `outcome`.
pub const AUTHENTICATIONS: &str = "greyhound_messaging_authentications_total";
/// Questions to the authorization endpoint, by `question` (`connect`, `push`) and `outcome` (`allowed`, `refused`,
/// `failed`).
pub const AUTHORIZATIONS: &str = "greyhound_messaging_authorizations_total";
/// Seconds from a question to its answer, including the wait for other questions. Histogram, without remembered answers.
pub const AUTHORIZATION_SECONDS: &str = "greyhound_messaging_authorization_seconds";
/// Sockets that joined or left a room or were refused one, by `event` and `cause`. Without the rooms of users and sites.
pub const MEMBERSHIPS: &str = "greyhound_messaging_memberships_total";
/// 1 if the last attempt to read the keys of an `issuer` failed, otherwise 0.
pub const KEYS_STALE: &str = "greyhound_messaging_keys_stale";
/// Revocations of tokens that are remembered, including withdrawn ones.
pub const REVOCATIONS: &str = "greyhound_messaging_revocations";
/// Published messages.
pub const MESSAGES: &str = "greyhound_messaging_messages_total";
/// Deliveries to recipients, by `outcome`.
pub const DELIVERIES: &str = "greyhound_messaging_deliveries_total";
/// Events emitted by clients.
pub const PUSHES: &str = "greyhound_messaging_pushes_total";
/// Events of unauthenticated clients, which are ignored.
pub const IGNORED: &str = "greyhound_messaging_ignored_events_total";
/// 1 if the cluster is reachable, otherwise 0.
pub const REDIS_UP: &str = "greyhound_messaging_redis_up";
/// Outages of Redis.
pub const REDIS_OUTAGES: &str = "greyhound_messaging_redis_outages_total";
/// Messages received from Redis, by `kind`: `message`, `request`, `malformed`.
pub const REDIS_RECEIVED: &str = "greyhound_messaging_redis_received_total";
/// Messages lost because Redis sent them faster than they were handled.
pub const REDIS_LOST: &str = "greyhound_messaging_redis_lost_total";
/// Requests of other nodes that were not answered because there were too many.
pub const REDIS_REFUSED: &str = "greyhound_messaging_redis_refused_requests_total";

pub(crate) fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_gauge!(CONNECTIONS, "Connected sockets");
    describe_gauge!(SESSIONS, "Client connections, from handshake to end");
    describe_counter!(REFUSED_SESSIONS, "Refused clients");
    describe_histogram!(
        DELAY,
        Unit::Seconds,
        "From the receipt of a message until it is passed to the kernel or to a poll"
    );
    describe_counter!(SLOWED, "Clients that began to be read more slowly than they send");
    describe_gauge!(QUEUE_BYTES, Unit::Bytes, "Bytes that wait for clients");
    describe_counter!(EVICTED, "Clients that were disconnected because all write queues took too much memory");
    describe_counter!(AUTHENTICATIONS, "Authentication attempts");
    describe_counter!(AUTHORIZATIONS, "Questions to the authorization endpoint");
    describe_histogram!(AUTHORIZATION_SECONDS, Unit::Seconds, "From a question to its answer");
    describe_counter!(MEMBERSHIPS, "Sockets that joined or left a room or were refused one");
    describe_gauge!(KEYS_STALE, "Whether the last attempt to read the keys of tokens failed");
    describe_gauge!(REVOCATIONS, "Revocations of tokens that are remembered, including withdrawn ones");
    describe_counter!(MESSAGES, "Published messages");
    describe_counter!(DELIVERIES, "Deliveries to recipients");
    describe_counter!(PUSHES, "Events emitted by clients");
    describe_counter!(IGNORED, "Events of unauthenticated clients, which are ignored");
    describe_gauge!(REDIS_UP, "Whether the cluster is reachable");
    describe_counter!(REDIS_OUTAGES, "Outages of Redis");
    describe_counter!(REDIS_RECEIVED, "Messages received from Redis");
    describe_counter!(REDIS_LOST, "Messages lost because Redis sent them faster than they were handled");
    describe_counter!(REDIS_REFUSED, "Requests of other nodes that were not answered because there were too many");
}
