//! A connection that polls: its polls, its POSTs, and the upgrade to a WebSocket.

use super::byte_stream::ByteStream;
use super::core::Connection;
use super::polling::{DescriptorPermit, Polled, Polling, Post};
use super::write_queue::Turn;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::timeout;

impl Connection {
    /// Passes the frames of a POST to the library, once it has taken those of the previous POST. Returns false if the
    /// connection no longer accepts POSTs.
    pub(crate) async fn post(&self, frames: Bytes) -> bool {
        let Some(polling) = self.polling.as_ref().filter(|_| self.is_polling()) else { return false };
        self.check().is_ok() && polling.posts.send(Post::Frames(frames)).await.is_ok()
    }

    /// Waits for frames for the client. During an upgrade it waits at most `upgrade_timeout`, so that the client can
    /// stop polling.
    pub(crate) async fn poll(&self, upgrade_timeout: Duration) -> Polled {
        let Some(polling) = self.polling.as_ref().filter(|_| self.is_polling()) else { return Polled::Closed };
        let number = polling.last_poll.fetch_add(1, Relaxed) + 1;
        // Ends the previous poll.
        self.queue.lock().wake_poll();
        let _guard = PollGuard { connection: self, polling, number };
        let poll = std::future::poll_fn(|cx| self.poll_polled(polling, number, cx));
        if polling.upgrading.load(Relaxed) {
            return timeout(upgrade_timeout, poll).await.unwrap_or(Polled::Frames(Vec::new()));
        }
        poll.await
    }

    fn poll_polled(&self, polling: &Polling, number: u64, cx: &Context<'_>) -> Poll<Polled> {
        let mut queue = self.queue.lock();
        if polling.last_poll.load(Relaxed) != number {
            return Poll::Ready(Polled::Superseded);
        }
        if queue.len() > 0 && queue.is_polled() {
            let oldest = queue.oldest();
            let frames = queue.take_for_poll().collect();
            queue.count_memory(&self.settings.queue_memory);
            self.settings.record_delay(oldest);
            if queue.is_closing() {
                self.abort();
            }
            return Poll::Ready(Polled::Frames(frames));
        }
        if queue.is_closed() {
            return Poll::Ready(Polled::Closed);
        }
        if polling.released.swap(false, Relaxed) || !queue.is_polled() {
            queue.set_poll(None);
            return Poll::Ready(Polled::Frames(Vec::new()));
        }
        queue.set_poll(Some(cx.waker().clone()));
        Poll::Pending
    }

    /// The client has probed a WebSocket: it stops polling as soon as its poll is answered.
    pub(crate) fn begin_upgrade(&self) {
        let Some(polling) = &self.polling else { return };
        polling.upgrading.store(true, Relaxed);
        let mut queue = self.queue.lock();
        polling.released.store(queue.has_poll(), Relaxed);
        queue.wake_poll();
    }

    /// The upgrade has failed, or is complete.
    pub(crate) fn end_upgrade(&self) {
        if let Some(polling) = &self.polling {
            polling.upgrading.store(false, Relaxed);
        }
    }

    /// Continues over a WebSocket; `rest` was already read from it. Returns whether the upgrade was possible.
    pub(crate) async fn upgrade(self: &Arc<Self>, stream: ByteStream, rest: Bytes, permit: DescriptorPermit) -> bool {
        let Some(polling) = &self.polling else { return false };
        let (reads, writes) = stream.into_split();
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
        polling.posts.send(Post::Socket(reads, rest, permit)).await.is_ok()
    }
}

/// Removes a poll's waker when the poll is answered or its client has gone.
struct PollGuard<'a> {
    connection: &'a Connection,
    polling: &'a Polling,
    number: u64,
}

impl Drop for PollGuard<'_> {
    fn drop(&mut self) {
        let mut queue = self.connection.queue.lock();
        if self.polling.last_poll.load(Relaxed) == self.number {
            queue.set_poll(None);
        }
    }
}
