//! A message on its way to clients, and one queued delivery of it.

use super::moment::Moment;

/// A message on its way to clients.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MessageRef {
    /// The number of its row; negative if its deliveries are not recorded.
    pub(crate) seq: i64,
    pub(crate) received: Moment,
}

impl MessageRef {
    pub(crate) fn to(self, connection_seq: i64) -> QueuedDelivery {
        QueuedDelivery { message_seq: self.seq, connection_seq, received: self.received }
    }
}

/// A delivery whose outcome so far is `queued`, with the numbers of its message's and its connection's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueuedDelivery {
    /// Negative if there is no delivery, or it is not recorded.
    pub(crate) message_seq: i64,
    pub(crate) connection_seq: i64,
    /// When the message was received.
    pub(crate) received: Moment,
}

impl QueuedDelivery {
    /// No recorded delivery.
    pub(crate) const NONE: Self = Self { message_seq: -1, connection_seq: -1, received: Moment::BEGIN };

    pub(super) fn is_recorded(&self) -> bool {
        self.message_seq >= 0
    }
}
