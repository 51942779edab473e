//! The names of events that are not the clients' own.

/// Names that socket.io reserves for its own events.
pub(crate) const RESERVED: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];
