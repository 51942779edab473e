//! Errors of reaching the other nodes.

use super::protocol::Unpublishable;
use std::sync::Arc;

/// Why the cluster was not reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotReached {
    #[error("Redis cannot be reached: {0}")]
    Down(Arc<str>),
    #[error("Redis did not confirm the message: {0}")]
    Refused(Arc<str>),
    #[error("too many messages are waiting for Redis")]
    Full,
    #[error(
        "a member of the cluster uses a @socket.io/redis-adapter before 7.1, which would crash on a message with acknowledgements"
    )]
    OldMember,
    #[error(transparent)]
    Unpublishable(#[from] Unpublishable),
}

/// The other nodes were not reached: the operation took effect only on this node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct Unreached(#[from] NotReached);
