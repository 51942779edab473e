//! The state of a connection that began with polling.

use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// What a connection has that began with polling.
pub(crate) struct Polling {
    /// Takes what is posted to the library's task that reads.
    pub(super) posts: mpsc::Sender<Post>,
    /// A WebSocket is tried.
    pub(super) upgrading: AtomicBool,
    /// The poll that waits is to be answered although nothing is there.
    pub(super) released: AtomicBool,
    /// The number of the last poll, which takes what is there.
    pub(super) last_poll: AtomicU64,
}

/// What comes from a client that polls.
pub(crate) enum Post {
    /// Frames.
    Frames(Bytes),
    /// Its WebSocket, and what was read from it already.
    Socket(OwnedReadHalf, Bytes, Slot),
}

/// The right to a file descriptor.
pub(crate) type Slot = Arc<OwnedSemaphorePermit>;

/// What a poll came to.
pub(crate) enum Polled {
    /// Frames, perhaps none.
    Frames(Vec<Bytes>),
    /// Another poll came later and takes what is there.
    Overtaken,
    /// The connection is over.
    Over,
}

impl Polling {
    pub(crate) fn new(posts: mpsc::Sender<Post>) -> Self {
        Self {
            posts,
            upgrading: AtomicBool::new(false),
            released: AtomicBool::new(false),
            last_poll: AtomicU64::new(0),
        }
    }
}
