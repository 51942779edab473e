//! Writing to a client: what waits, in its order, as fast as the client takes it.

use super::core::Connection;
use super::ordering::{LastMark, Offered, Passage};
use super::queued::QueuedDelivery;
use super::write_queue::{Turn, WriteQueue, Wrote};
use bytes::Bytes;
use parking_lot::MutexGuard;
use std::io;
use std::sync::Arc;
use tokio::time::timeout;

impl Connection {
    /// Queues `frame` behind everything that was sent before to the socket whose last mark is `last`. If it is the first
    /// that waits, the connection is added to `due`, for the writers.
    pub(crate) fn offer(
        self: &Arc<Self>,
        frame: &Bytes,
        last: &LastMark,
        volatile: bool,
        delivery: QueuedDelivery,
        due: &mut Vec<Arc<Self>>,
    ) -> Offered {
        let mut queue = self.queue.lock();
        if queue.is_closing() || queue.is_closed() {
            return Offered::Full;
        }
        if self.check().is_err() || !queue.order.allows_direct(last) {
            return Offered::ViaLibrary;
        }
        if volatile && queue.is_behind() {
            return Offered::Full;
        }
        // Perhaps only the writers have not had their turn yet.
        if queue.len() >= self.settings.buffer
            && let Wrote::Failed(error) = queue.write(&self.sent)
        {
            self.broke(&mut queue, &error);
            return Offered::Full;
        }
        if queue.len() >= self.settings.buffer {
            return Offered::Full;
        }
        queue.push(frame.clone(), delivery);
        if queue.turn == Turn::Nobody {
            queue.turn = Turn::Writers;
            due.push(self.clone());
        }
        Offered::Queued
    }

    /// Sends through the library; `send` returns how the event went in.
    pub(crate) fn send_through_library(
        &self,
        last: &LastMark,
        delivery: QueuedDelivery,
        send: impl FnOnce() -> Passage,
    ) {
        // Locked meanwhile: marks come out in the order in which they are counted.
        let mut queue = self.queue.lock();
        let passage = send();
        queue.order.entered(last, passage, delivery);
    }

    /// Writes what waits. To be called in a runtime.
    pub(crate) fn write(self: &Arc<Self>) {
        let mut queue = self.queue.lock();
        if queue.turn == Turn::Writers {
            self.write_locked(&mut queue);
        }
    }

    pub(super) fn write_locked(self: &Arc<Self>, queue: &mut MutexGuard<'_, WriteQueue>) {
        let oldest = queue.oldest();
        queue.turn = match queue.write(&self.sent) {
            Wrote::All => {
                self.settings.count_delay(oldest);
                if queue.is_closing() {
                    self.abort();
                }
                Turn::Nobody
            }
            Wrote::ForPoll => Turn::Nobody,
            Wrote::Some => {
                tokio::spawn(self.clone().wait_for_client());
                Turn::Client
            }
            Wrote::Failed(error) => return self.broke(queue, &error),
        };
    }

    /// Writes as the client takes it, until nothing waits. A client that takes nothing for too long is closed.
    async fn wait_for_client(self: Arc<Self>) {
        loop {
            let Some(socket) = self.queue.lock().socket() else { break };
            if timeout(self.settings.write_timeout, socket.writable()).await.is_err() {
                self.queue.lock().close();
                return self.too_slow();
            }
            let mut queue = self.queue.lock();
            let oldest = queue.oldest();
            match queue.write(&self.sent) {
                Wrote::Some if queue.holds_up_library() => {}
                Wrote::Some => self.writer.wake(),
                Wrote::All | Wrote::ForPoll => {
                    self.settings.count_delay(oldest);
                    if queue.is_closing() {
                        self.abort();
                    }
                    queue.turn = Turn::Nobody;
                    break;
                }
                Wrote::Failed(error) => {
                    self.broke(&mut queue, &error);
                    break;
                }
            }
        }
        self.writer.wake();
    }

    /// A write failed.
    fn broke(&self, queue: &mut MutexGuard<'_, WriteQueue>, error: &io::Error) {
        queue.close();
        self.failed(error);
    }

    /// A read or a write failed. The kernel may lose patience (`TCP_USER_TIMEOUT`) a moment before the gateway does.
    /// Otherwise the connection is left to who reads: something may have arrived before it broke.
    pub(crate) fn failed(&self, error: &io::Error) {
        if error.kind() == io::ErrorKind::TimedOut {
            self.too_slow();
        }
    }
}
