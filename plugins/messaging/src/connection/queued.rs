//! A message, and its delivery that waits to be written to a client.

use super::moment::Moment;

/// A message that is being sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MessageRef {
    /// The number of its row, as its deliveries name it; negative if they are not recorded.
    pub(crate) seq: i64,
    pub(crate) received: Moment,
}

impl MessageRef {
    pub(crate) fn to(self, connection_seq: i64) -> QueuedDelivery {
        QueuedDelivery { message_seq: self.seq, connection_seq, received: self.received }
    }
}

/// A delivery whose row says `queued`: the numbers of its message's and its connection's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueuedDelivery {
    /// Negative: none, or one that is not recorded.
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
