//! The end of a connection, and its observers.

use super::queued::QueuedDelivery;
use crate::limits::Place;
use std::sync::Arc;

/// Is notified when a connection ends.
pub(crate) trait ConnectionObserver: Send + Sync {
    /// Whether the observer can be forgotten.
    fn is_finished(&self) -> bool;
    /// Whether the observer is an authenticated client.
    fn is_authenticated(&self) -> bool;
    /// The connection has ended. `unsent` are all its unwritten deliveries, also those of other observers.
    fn connection_ended(&self, unsent: &[QueuedDelivery]);
}

/// Whether a connection has ended; until then, what to notify.
pub(super) enum Lifecycle {
    Open {
        observers: Vec<Arc<dyn ConnectionObserver>>,
        callback: Option<Box<dyn FnOnce() + Send>>,
        _place: Option<Place>,
    },
    Ended,
}
