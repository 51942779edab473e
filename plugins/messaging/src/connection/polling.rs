//! The polling state of a connection.

use super::byte_stream::ReadHalf;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// The polling state of a connection that began with polling.
pub(crate) struct Polling {
    /// Carries posted frames to the library's reading task.
    pub(super) posts: mpsc::Sender<Post>,
    /// An upgrade to a WebSocket is under way.
    pub(super) upgrading: AtomicBool,
    /// The waiting poll must be answered even if nothing is queued.
    pub(super) released: AtomicBool,
    /// The number of the last poll. Only the last poll gets frames.
    pub(super) last_poll: AtomicU64,
}

/// Input from a client that polls.
pub(crate) enum Post {
    /// The frames of a POST.
    Frames(Bytes),
    /// The WebSocket that it upgrades to, and the bytes already read from it.
    Socket(ReadHalf, Bytes, DescriptorPermit),
}

/// A permit to use a file descriptor.
pub(crate) type DescriptorPermit = Arc<OwnedSemaphorePermit>;

/// The result of a poll.
pub(crate) enum Polled {
    /// Frames, possibly none.
    Frames(Vec<Bytes>),
    /// A later poll has replaced it.
    Superseded,
    /// The connection is closed.
    Closed,
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
