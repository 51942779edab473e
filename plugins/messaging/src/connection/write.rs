//! Writes a client's queue in order, as fast as the client reads.

use super::core::Connection;
use super::ordering::{Handover, LastMark, Offered};
use super::queued::QueuedDelivery;
use super::write_queue::{Turn, WriteQueue, Wrote};
use bytes::Bytes;
use parking_lot::MutexGuard;
use std::io;
use std::sync::Arc;
use tokio::time::timeout;

impl Connection {
    /// Queues `frame` behind all earlier frames to the socket whose last mark is `last`. If the writers must be told,
    /// the connection is added to `due`.
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
        // The queue may be long only because the writers have not run yet.
        if queue.is_full_for(frame.len(), &self.settings)
            && let Wrote::Failed(error) = queue.write(&self.sent)
        {
            self.write_failed(&mut queue, &error);
            return Offered::Full;
        }
        if queue.is_full_for(frame.len(), &self.settings) {
            return Offered::Full;
        }
        queue.push(frame.clone(), delivery);
        if queue.is_behind() {
            queue.count_memory(&self.settings.queue_memory);
        }
        if queue.turn == Turn::Nobody {
            queue.turn = Turn::Writers;
            due.push(self.clone());
        }
        Offered::Queued
    }

    /// Sends an event through the library with `send`.
    pub(crate) fn send_through_library(
        &self,
        last: &LastMark,
        delivery: QueuedDelivery,
        send: impl FnOnce() -> Handover,
    ) {
        // The lock is held during `send`: the library must write the marks in the order of their numbers.
        let mut queue = self.queue.lock();
        let handover = send();
        queue.order.handed_over(last, handover, delivery);
    }

    /// Writes the queue, if it is the writers' turn. Must be called in a runtime.
    pub(super) fn write(self: &Arc<Self>) {
        let mut queue = self.queue.lock();
        if queue.turn == Turn::Writers {
            self.write_locked(&mut queue);
        }
    }

    pub(super) fn write_locked(self: &Arc<Self>, queue: &mut MutexGuard<'_, WriteQueue>) {
        let oldest = queue.oldest();
        queue.turn = match queue.write(&self.sent) {
            Wrote::All => {
                self.settings.record_delay(oldest);
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
            Wrote::Failed(error) => return self.write_failed(queue, &error),
        };
        queue.count_memory(&self.settings.queue_memory);
    }

    /// Writes as fast as the client reads until the queue is empty. A client that reads nothing for `write_timeout` is
    /// disconnected.
    async fn wait_for_client(self: Arc<Self>) {
        loop {
            let Some(socket) = self.queue.lock().socket() else { break };
            if timeout(self.settings.write_timeout, socket.writable()).await.is_err() {
                self.queue.lock().close();
                return self.abort_slow();
            }
            let mut queue = self.queue.lock();
            let oldest = queue.oldest();
            let wrote = queue.write(&self.sent);
            queue.count_memory(&self.settings.queue_memory);
            match wrote {
                Wrote::Some if queue.holds_up_library() => {}
                Wrote::Some => self.writer.wake(),
                Wrote::All | Wrote::ForPoll => {
                    self.settings.record_delay(oldest);
                    if queue.is_closing() {
                        self.abort();
                    }
                    queue.turn = Turn::Nobody;
                    queue.count_memory(&self.settings.queue_memory);
                    break;
                }
                Wrote::Failed(error) => {
                    self.write_failed(&mut queue, &error);
                    break;
                }
            }
        }
        self.writer.wake();
    }

    fn write_failed(&self, queue: &mut MutexGuard<'_, WriteQueue>, error: &io::Error) {
        queue.close();
        self.failed(error);
    }

    /// A read or a write failed. A timeout of the kernel (`TCP_USER_TIMEOUT`) may come just before the gateway's own.
    /// Other errors are left to the reader, because data may have arrived before the connection broke.
    pub(super) fn failed(&self, error: &io::Error) {
        if error.kind() == io::ErrorKind::TimedOut {
            self.abort_slow();
        }
    }
}
