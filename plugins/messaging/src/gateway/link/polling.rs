//! What a connection has as long as its client polls: polls that wait for something, POSTs that bring something, and
//! the way to a WebSocket.

use super::{Link, Turn};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;

/// What a connection has that began with polling.
pub(in crate::gateway) struct Polling {
    /// Takes what is posted to the library's task that reads.
    posts: mpsc::Sender<Post>,
    /// A WebSocket is tried.
    upgrading: AtomicBool,
    /// The poll that waits is to be answered although nothing is there.
    released: AtomicBool,
    /// The number of the last poll, which takes what is there.
    last_poll: AtomicU64,
}

/// What comes from a client that polls.
pub(in crate::gateway) enum Post {
    /// Frames.
    Frames(Bytes),
    /// Its WebSocket, and what was read from it already.
    Socket(OwnedReadHalf, Bytes, Slot),
}

/// The right to a file descriptor.
pub(in crate::gateway) type Slot = Arc<OwnedSemaphorePermit>;

/// What a poll came to.
pub(in crate::gateway) enum Polled {
    /// Frames, perhaps none.
    Frames(Vec<Bytes>),
    /// Another poll came later and takes what is there.
    Overtaken,
    /// The connection is over.
    Over,
}

impl Polling {
    pub(in crate::gateway) fn new(posts: mpsc::Sender<Post>) -> Self {
        Self {
            posts,
            upgrading: AtomicBool::new(false),
            released: AtomicBool::new(false),
            last_poll: AtomicU64::new(0),
        }
    }
}

impl Link {
    /// Hands the frames of a POST to the library, when it has taken those of the last. Returns whether it still takes
    /// any.
    pub(in crate::gateway) async fn post(&self, frames: Bytes) -> bool {
        let Some(polling) = self.polling.as_ref().filter(|_| self.is_polling()) else { return false };
        self.check().is_ok() && polling.posts.send(Post::Frames(frames)).await.is_ok()
    }

    /// Waits for what the client is to get. While a WebSocket is tried, it waits for a moment only, so that the client
    /// can leave off.
    pub(in crate::gateway) async fn poll(&self, moment: Duration) -> Polled {
        let Some(polling) = self.polling.as_ref().filter(|_| self.is_polling()) else { return Polled::Over };
        let number = polling.last_poll.fetch_add(1, Relaxed) + 1;
        // The one before it is answered.
        self.outbox.lock().wake_poll();
        let _leaves = LeavesOff { link: self, polling, number };
        let poll = std::future::poll_fn(|cx| self.poll_polled(polling, number, cx));
        if polling.upgrading.load(Relaxed) {
            return timeout(moment, poll).await.unwrap_or(Polled::Frames(Vec::new()));
        }
        poll.await
    }

    fn poll_polled(&self, polling: &Polling, number: u64, cx: &Context<'_>) -> Poll<Polled> {
        let mut outbox = self.outbox.lock();
        if polling.last_poll.load(Relaxed) != number {
            return Poll::Ready(Polled::Overtaken);
        }
        if outbox.len() > 0 && outbox.is_polled() {
            let oldest = outbox.oldest();
            let frames = outbox.take_for_poll().collect();
            self.all.count_delay(oldest);
            if outbox.is_closing() {
                self.doom();
            }
            return Poll::Ready(Polled::Frames(frames));
        }
        if outbox.is_closed() {
            return Poll::Ready(Polled::Over);
        }
        if polling.released.swap(false, Relaxed) || !outbox.is_polled() {
            outbox.set_poll(None);
            return Poll::Ready(Polled::Frames(Vec::new()));
        }
        outbox.set_poll(Some(cx.waker().clone()));
        Poll::Pending
    }

    /// A WebSocket has been probed: the client leaves off polling as soon as its poll is answered.
    pub(in crate::gateway) fn begin_upgrade(&self) {
        let Some(polling) = &self.polling else { return };
        polling.upgrading.store(true, Relaxed);
        let mut outbox = self.outbox.lock();
        polling.released.store(outbox.has_poll(), Relaxed);
        outbox.wake_poll();
    }

    /// The WebSocket came to nothing.
    pub(in crate::gateway) fn abandon_upgrade(&self) {
        if let Some(polling) = &self.polling {
            polling.upgrading.store(false, Relaxed);
        }
    }

    /// The client goes on over a WebSocket; `rest` was read from it already. Returns whether it polled until now.
    pub(in crate::gateway) async fn upgrade(
        self: &Arc<Self>,
        reads: OwnedReadHalf,
        writes: OwnedWriteHalf,
        rest: Bytes,
        slot: Slot,
    ) -> bool {
        let Some(polling) = &self.polling else { return false };
        {
            let mut outbox = self.outbox.lock();
            if !outbox.switch_to(writes) {
                return false;
            }
            self.websocket.store(true, Relaxed);
            if outbox.turn == Turn::Nobody {
                self.write_locked(&mut outbox);
            }
        }
        self.writer.wake();
        polling.posts.send(Post::Socket(reads, rest, slot)).await.is_ok()
    }
}

/// A poll that is answered, or whose client went away, does not wait any more.
struct LeavesOff<'a> {
    link: &'a Link,
    polling: &'a Polling,
    number: u64,
}

impl Drop for LeavesOff<'_> {
    fn drop(&mut self) {
        let mut outbox = self.link.outbox.lock();
        if self.polling.last_poll.load(Relaxed) == self.number {
            outbox.set_poll(None);
        }
    }
}
