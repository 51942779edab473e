//! Why the other nodes were not reached.

use super::protocol::Unpublishable;
use std::sync::Arc;

/// Why the cluster was not reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotReached {
    #[error("Redis cannot be reached: {0}")]
    Down(Arc<str>),
    #[error("Redis did not take it: {0}")]
    Refused(Arc<str>),
    #[error("too much waits for Redis already")]
    Full,
    #[error(
        "a member of the cluster is older than @socket.io/redis-adapter 7.1, which would crash of a message with acknowledgements"
    )]
    OldMember,
    #[error(transparent)]
    Unpublishable(#[from] Unpublishable),
}

/// The other nodes were not reached: what happened, happened on this node alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct Unreached(#[from] NotReached);
