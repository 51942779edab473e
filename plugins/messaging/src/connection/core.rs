//! The state of a client's connection, and how it ends.

use super::byte_stream::WriteHalf;
use super::lifecycle::{ConnectionObserver, Lifecycle};
use super::polling::Polling;
use super::protocol::Protocol;
use super::settings::Settings;
use super::unauthenticated::{Admission, UnauthenticatedClient};
use super::write_queue::{Sink, Turn, WriteQueue};
use crate::metrics as names;
use crate::proxies::ClientEnd;
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use metrics::gauge;
use parking_lot::Mutex;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Time for a client to receive its last packets before its connection is closed.
pub(crate) const CLOSE_GRACE_PERIOD: Duration = Duration::from_secs(1);

/// The state of a client's connection, and its write queue. Shared by its stream and its sessions.
pub(crate) struct Connection {
    pub(crate) client: ClientEnd,
    pub(crate) protocol: Protocol,
    pub(super) websocket: AtomicBool,
    received: AtomicU64,
    pub(super) sent: AtomicU64,
    slow: AtomicBool,
    aborted: AtomicBool,
    /// Why the server closes the connection.
    close_reason: OnceLock<&'static str>,
    pub(super) queue: Mutex<WriteQueue>,
    /// Wakes the library's reading task.
    pub(super) reader: AtomicWaker,
    /// Wakes the library's task that waits until its own output is written.
    pub(super) writer: AtomicWaker,
    pub(super) polling: Option<Polling>,
    lifecycle: Mutex<Lifecycle>,
    standing: Mutex<Standing>,
    /// Whether the client sends more than its limits allow.
    flooding: AtomicBool,
    /// The next pause before more is read.
    pause_ms: AtomicU32,
    pub(super) settings: Arc<Settings>,
}

/// Who a client is known to be.
enum Standing {
    Unauthenticated { _counted: UnauthenticatedClient },
    User(Arc<str>),
    Gone,
}

impl Connection {
    /// Pass `socket` if the connection begins as a WebSocket, `polling` if it begins with polling.
    pub(crate) fn new(
        (client, protocol): (ClientEnd, Protocol),
        socket: Option<WriteHalf>,
        polling: Option<Polling>,
        admission: Option<Admission>,
        settings: Arc<Settings>,
    ) -> Self {
        gauge!(names::SESSIONS).increment(1);
        let (place, unauthenticated) = admission.map(|it| (it.place, it.unauthenticated)).unzip();
        let websocket = AtomicBool::new(socket.is_some());
        let sink = match (socket, &polling) {
            (Some(socket), _) => Sink::Socket(Arc::new(socket)),
            (None, Some(_)) => Sink::Poll(None),
            (None, None) => Sink::Closed,
        };
        Self {
            client,
            protocol,
            websocket,
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            slow: AtomicBool::new(false),
            aborted: AtomicBool::new(false),
            close_reason: OnceLock::new(),
            queue: Mutex::new(WriteQueue::new(sink)),
            reader: AtomicWaker::new(),
            writer: AtomicWaker::new(),
            polling,
            lifecycle: Mutex::new(Lifecycle::Open { observers: Vec::new(), callback: None, _place: place }),
            standing: Mutex::new(
                unauthenticated.map_or(Standing::Gone, |it| Standing::Unauthenticated { _counted: it }),
            ),
            flooding: AtomicBool::new(false),
            pause_ms: AtomicU32::new(0),
            settings,
        }
    }

    /// The current transport.
    pub(crate) fn transport(&self) -> &'static str {
        if self.is_polling() { "polling" } else { "websocket" }
    }

    pub(crate) fn is_polling(&self) -> bool {
        !self.websocket.load(Relaxed)
    }

    /// Whether the client is slower than the server: its socket is full, or no poll waits.
    pub(crate) fn is_behind(&self) -> bool {
        self.queue.lock().is_behind()
    }

    /// Whether the connection is closed, or about to be closed, because the client reads too slowly.
    pub(crate) fn is_slow(&self) -> bool {
        self.slow.load(Relaxed)
    }

    /// Closes the connection at once because the client reads too slowly.
    pub(crate) fn abort_slow(&self) {
        self.slow.store(true, Relaxed);
        self.abort();
    }

    /// Closes the connection at once.
    pub(crate) fn abort(&self) {
        self.aborted.store(true, Relaxed);
        self.reader.wake();
        self.writer.wake();
    }

    /// Closes the connection once the queue is written, at the latest after [`CLOSE_GRACE_PERIOD`]. Must be called in a
    /// runtime.
    pub(crate) fn close(self: &Arc<Self>) {
        {
            let mut queue = self.queue.lock();
            if queue.is_closed() || queue.is_closing() {
                return;
            }
            queue.close_when_written();
            if !queue.is_behind() && queue.turn == Turn::Nobody {
                self.write_locked(&mut queue);
            }
        }
        let connection = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(CLOSE_GRACE_PERIOD).await;
            connection.abort();
        });
    }

    /// Sets the reason why the server closes the connection. The first call wins.
    pub(crate) fn set_close_reason(&self, reason: &'static str) {
        let _ = self.close_reason.set(reason);
    }

    /// Why the server closed the connection.
    pub(crate) fn close_reason(&self) -> Option<&'static str> {
        if self.is_slow() { Some("slow client") } else { self.close_reason.get().copied() }
    }

    /// Called when one of the sessions has authenticated as `user`.
    pub(crate) fn authenticated(&self, user: Arc<str>) {
        *self.standing.lock() = Standing::User(user);
    }

    /// The user as whom one of the sessions authenticated last.
    pub(super) fn user(&self) -> Option<Arc<str>> {
        match &*self.standing.lock() {
            Standing::User(user) => Some(user.clone()),
            Standing::Unauthenticated { .. } | Standing::Gone => None,
        }
    }

    pub(super) fn set_flooding(&self, flooding: bool) {
        self.flooding.store(flooding, Relaxed);
    }

    /// Whether the client sends more than its limits allow, and is therefore read only slowly.
    pub(crate) fn is_flooding(&self) -> bool {
        self.flooding.load(Relaxed)
    }

    /// Whether none of its open sockets is authenticated.
    pub(crate) fn is_unauthenticated(&self) -> bool {
        match &*self.lifecycle.lock() {
            Lifecycle::Open { observers, .. } => !observers.iter().any(|observer| observer.is_authenticated()),
            Lifecycle::Ended => true,
        }
    }

    /// Whether the library has dropped the connection.
    pub(crate) fn is_ended(&self) -> bool {
        matches!(*self.lifecycle.lock(), Lifecycle::Ended)
    }

    /// Bytes received and sent.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.received.load(Relaxed), self.sent.load(Relaxed))
    }

    /// Calls `callback` when the connection ends, or immediately if it has ended. Only the first callback is kept.
    pub(crate) fn on_end(&self, callback: impl FnOnce() + Send + 'static) {
        let mut lifecycle = self.lifecycle.lock();
        match &mut *lifecycle {
            Lifecycle::Open { callback: kept, .. } => drop(kept.get_or_insert_with(|| Box::new(callback))),
            Lifecycle::Ended => {
                drop(lifecycle);
                callback();
            }
        }
    }

    /// Notifies `observer` when the connection ends.
    pub(crate) fn add_observer(&self, observer: Arc<dyn ConnectionObserver>) {
        if let Lifecycle::Open { observers, .. } = &mut *self.lifecycle.lock() {
            observers.retain(|other| !other.is_finished());
            observers.push(observer);
        }
    }

    /// Bytes that wait for the client.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.queue.lock().memory()
    }

    /// Counts frames for clients in the memory of all queues.
    pub(crate) fn count_frames(&self, frames: Bytes) -> Bytes {
        self.settings.queue_memory.count(frames)
    }

    /// Nothing is read from the client for this long.
    pub(crate) fn pause(&self, time: Duration) {
        self.pause_ms.fetch_add(u32::try_from(time.as_millis()).unwrap_or(u32::MAX), Relaxed);
    }

    pub(super) fn take_pause(&self) -> Option<Duration> {
        let pause_ms = self.pause_ms.swap(0, Relaxed);
        (pause_ms > 0).then(|| Duration::from_millis(pause_ms.into()))
    }

    pub(super) fn check(&self) -> io::Result<()> {
        if self.aborted.load(Relaxed) { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }

    pub(crate) fn count_received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn count_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Relaxed);
    }

    /// Called when the library drops the connection.
    pub(super) fn ended(&self) {
        gauge!(names::SESSIONS).decrement(1);
        *self.standing.lock() = Standing::Gone;
        let mut queue = self.queue.lock();
        let unsent = queue.end();
        queue.count_memory(&self.settings.queue_memory);
        drop(queue);
        self.writer.wake();
        let lifecycle = std::mem::replace(&mut *self.lifecycle.lock(), Lifecycle::Ended);
        let Lifecycle::Open { observers, callback, .. } = lifecycle else { return };
        observers.iter().for_each(|observer| observer.connection_ended(&unsent));
        if let Some(callback) = callback {
            callback();
        }
    }
}
