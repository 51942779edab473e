//! The library's side of a connection: what its tasks read, write and wait for.

use super::core::Connection;
use super::write_queue::WriteQueue;
use parking_lot::MutexGuard;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

impl Connection {
    /// For the library's reading task: an error if the connection is aborted. Wakes the task if it is aborted later.
    pub(super) fn check_reader(&self, cx: &Context<'_>) -> io::Result<()> {
        self.reader.register(cx.waker());
        self.check()
    }

    /// Queues all bytes that the library writes, once its earlier bytes are written. Never fails: a broken connection
    /// is reported only to the reader, so that the library ends every session in the same way, even if it cannot write
    /// the open packet.
    pub(super) fn poll_take(self: &Arc<Self>, cx: &Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut queue = ready!(self.poll_ready(cx));
        if queue.is_closing() || queue.is_closed() {
            return Poll::Ready(Ok(parts.iter().map(|part| part.len()).sum()));
        }
        let len = queue.take(parts, &self.settings.queue_memory);
        queue.count_memory(&self.settings.queue_memory);
        if queue.is_polled() && queue.is_overfull(&self.settings) {
            self.abort_slow();
        }
        if !queue.is_behind() {
            self.write_locked(&mut queue);
        }
        Poll::Ready(Ok(len))
    }

    /// Waits until everything that the library wrote is written.
    pub(super) fn poll_written(self: &Arc<Self>, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let mut queue = ready!(self.poll_ready(cx));
        if !queue.is_behind() && !queue.is_closed() {
            self.write_locked(&mut queue);
        }
        drop(queue);
        self.poll_ready(cx).map(|_| Ok(()))
    }

    fn poll_ready(&self, cx: &Context<'_>) -> Poll<MutexGuard<'_, WriteQueue>> {
        let queue = self.queue.lock();
        if queue.holds_up_library() && self.check().is_ok() {
            self.writer.register(cx.waker());
            // It may have been aborted before the waker was registered.
            if self.check().is_ok() {
                return Poll::Pending;
            }
        }
        Poll::Ready(queue)
    }
}
