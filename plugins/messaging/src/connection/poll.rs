//! What a connection does while it polls: polls that wait for something, POSTs that bring something, and the way to a
//! WebSocket.

use super::core::Connection;
use super::polling::{Polled, Polling, Post, Slot};
use super::write_queue::Turn;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

impl Connection {
    /// Hands the frames of a POST to the library, when it has taken those of the last. Returns whether it still takes
    /// any.
    pub(crate) async fn post(&self, frames: Bytes) -> bool {
        let Some(polling) = self.polling.as_ref().filter(|_| self.is_polling()) else { return false };
        self.check().is_ok() && polling.posts.send(Post::Frames(frames)).await.is_ok()
    }

    /// Waits for what the client is to get. While a WebSocket is tried, it waits for a moment only, so that the client
    /// can leave off.
    pub(crate) async fn poll(&self, moment: Duration) -> Polled {
        let Some(polling) = self.polling.as_ref().filter(|_| self.is_polling()) else { return Polled::Over };
        let number = polling.last_poll.fetch_add(1, Relaxed) + 1;
        // The one before it is answered.
        self.queue.lock().wake_poll();
        let _leaves = LeavesOff { connection: self, polling, number };
        let poll = std::future::poll_fn(|cx| self.poll_polled(polling, number, cx));
        if polling.upgrading.load(Relaxed) {
            return timeout(moment, poll).await.unwrap_or(Polled::Frames(Vec::new()));
        }
        poll.await
    }

    fn poll_polled(&self, polling: &Polling, number: u64, cx: &Context<'_>) -> Poll<Polled> {
        let mut queue = self.queue.lock();
        if polling.last_poll.load(Relaxed) != number {
            return Poll::Ready(Polled::Overtaken);
        }
        if queue.len() > 0 && queue.is_polled() {
            let oldest = queue.oldest();
            let frames = queue.take_for_poll().collect();
            self.settings.count_delay(oldest);
            if queue.is_closing() {
                self.abort();
            }
            return Poll::Ready(Polled::Frames(frames));
        }
        if queue.is_closed() {
            return Poll::Ready(Polled::Over);
        }
        if polling.released.swap(false, Relaxed) || !queue.is_polled() {
            queue.set_poll(None);
            return Poll::Ready(Polled::Frames(Vec::new()));
        }
        queue.set_poll(Some(cx.waker().clone()));
        Poll::Pending
    }

    /// A WebSocket has been probed: the client leaves off polling as soon as its poll is answered.
    pub(crate) fn begin_upgrade(&self) {
        let Some(polling) = &self.polling else { return };
        polling.upgrading.store(true, Relaxed);
        let mut queue = self.queue.lock();
        polling.released.store(queue.has_poll(), Relaxed);
        queue.wake_poll();
    }

    /// The WebSocket came to nothing.
    pub(crate) fn abandon_upgrade(&self) {
        if let Some(polling) = &self.polling {
            polling.upgrading.store(false, Relaxed);
        }
    }

    /// The client goes on over a WebSocket; `rest` was read from it already. Returns whether it polled until now.
    pub(crate) async fn upgrade(
        self: &Arc<Self>,
        reads: OwnedReadHalf,
        writes: OwnedWriteHalf,
        rest: Bytes,
        slot: Slot,
    ) -> bool {
        let Some(polling) = &self.polling else { return false };
        {
            let mut queue = self.queue.lock();
            if !queue.switch_to(writes) {
                return false;
            }
            self.websocket.store(true, Relaxed);
            if queue.turn == Turn::Nobody {
                self.write_locked(&mut queue);
            }
        }
        self.writer.wake();
        polling.posts.send(Post::Socket(reads, rest, slot)).await.is_ok()
    }
}

/// A poll that is answered, or whose client went away, does not wait any more.
struct LeavesOff<'a> {
    connection: &'a Connection,
    polling: &'a Polling,
    number: u64,
}

impl Drop for LeavesOff<'_> {
    fn drop(&mut self) {
        let mut queue = self.connection.queue.lock();
        if self.polling.last_poll.load(Relaxed) == self.number {
            queue.set_poll(None);
        }
    }
}
