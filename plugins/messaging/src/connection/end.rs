//! The end of a connection, and who is told of it.

use super::queued::QueuedDelivery;
use std::sync::Arc;

/// Who is told when a connection is over.
pub(crate) trait Passenger: Send + Sync {
    /// It does not want to be told any more.
    fn has_left(&self) -> bool;
    /// The connection is over; `unsent` are the deliveries that were not written, its own among them.
    fn connection_ended(&self, unsent: &[QueuedDelivery]);
}

/// What ends with a connection.
pub(super) enum End {
    Open { passengers: Vec<Arc<dyn Passenger>>, call: Option<Box<dyn FnOnce() + Send>> },
    Over,
}
