//! What is known of a client's connection, and how it ends.

use super::end::{End, Passenger};
use super::polling::Polling;
use super::protocol::Protocol;
use super::settings::Settings;
use super::unproven::Unproven;
use super::write_queue::{Sink, Turn, WriteQueue};
use crate::metrics as names;
use futures_util::task::AtomicWaker;
use metrics::gauge;
use parking_lot::Mutex;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::tcp::OwnedWriteHalf;

/// How long a client may take for the last word that is sent to it.
pub(crate) const FAREWELL: Duration = Duration::from_secs(1);

/// What is known of a client's connection, and what is to be written to it. Shared by its stream and the sessions that
/// use it.
pub(crate) struct Connection {
    pub(crate) peer: SocketAddr,
    pub(crate) protocol: Protocol,
    pub(super) websocket: AtomicBool,
    pub(super) received: AtomicU64,
    pub(super) sent: AtomicU64,
    slow: AtomicBool,
    pub(super) aborted: AtomicBool,
    /// Why the server closes it.
    reason: OnceLock<&'static str>,
    pub(super) queue: Mutex<WriteQueue>,
    /// The library's task that reads.
    pub(super) reader: AtomicWaker,
    /// The library's task that waits until all that it wrote is written.
    pub(super) writer: AtomicWaker,
    pub(super) polling: Option<Polling>,
    end: Mutex<End>,
    /// Until one of its sessions has authenticated.
    unproven: Mutex<Option<Unproven>>,
    pub(super) settings: Arc<Settings>,
}

impl Connection {
    /// `polling` is what a connection has that begins with it; `socket` is the WebSocket of one that begins so.
    pub(crate) fn new(
        (peer, protocol): (SocketAddr, Protocol),
        socket: Option<OwnedWriteHalf>,
        polling: Option<Polling>,
        unproven: Option<Unproven>,
        settings: Arc<Settings>,
    ) -> Self {
        gauge!(names::SESSIONS).increment(1);
        let websocket = AtomicBool::new(socket.is_some());
        let sink = match (socket, &polling) {
            (Some(socket), _) => Sink::Socket(Arc::new(socket)),
            (None, Some(_)) => Sink::Poll(None),
            (None, None) => Sink::Closed,
        };
        Self {
            peer,
            protocol,
            websocket,
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            slow: AtomicBool::new(false),
            aborted: AtomicBool::new(false),
            reason: OnceLock::new(),
            queue: Mutex::new(WriteQueue::new(sink)),
            reader: AtomicWaker::new(),
            writer: AtomicWaker::new(),
            polling,
            end: Mutex::new(End::Open { passengers: Vec::new(), call: None }),
            unproven: Mutex::new(unproven),
            settings,
        }
    }

    /// The transport that it uses by now.
    pub(crate) fn transport(&self) -> &'static str {
        if self.is_polling() { "polling" } else { "websocket" }
    }

    pub(crate) fn is_polling(&self) -> bool {
        !self.websocket.load(Relaxed)
    }

    /// Whether bytes wait that the client does not take.
    pub(crate) fn is_behind(&self) -> bool {
        self.queue.lock().is_behind()
    }

    /// Whether it is, or is about to be, closed because the client reads too slowly.
    pub(crate) fn is_slow(&self) -> bool {
        self.slow.load(Relaxed)
    }

    /// Closes the connection, because the client reads too slowly.
    pub(crate) fn too_slow(&self) {
        self.slow.store(true, Relaxed);
        self.abort();
    }

    /// Closes the connection at once.
    pub(crate) fn abort(&self) {
        self.aborted.store(true, Relaxed);
        self.reader.wake();
        self.writer.wake();
    }

    /// Closes the connection when all is written that waits, within a moment. To be called in a runtime.
    pub(crate) fn close(self: &Arc<Self>) {
        {
            let mut queue = self.queue.lock();
            if queue.is_closed() || queue.is_closing() {
                return;
            }
            queue.close_after_all();
            if !queue.is_behind() && queue.turn == Turn::Nobody {
                self.write_locked(&mut queue);
            }
        }
        let connection = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(FAREWELL).await;
            connection.abort();
        });
    }

    /// Says why the server is about to close it; the first word counts.
    pub(crate) fn set_close_reason(&self, reason: &'static str) {
        let _ = self.reason.set(reason);
    }

    /// Why the server closed it.
    pub(crate) fn reason(&self) -> Option<&'static str> {
        if self.is_slow() { Some("slow client") } else { self.reason.get().copied() }
    }

    /// One of its sessions has authenticated.
    pub(crate) fn proven(&self) {
        self.unproven.lock().take();
    }

    /// Whether none of its sessions has authenticated.
    pub(crate) fn is_unproven(&self) -> bool {
        self.unproven.lock().is_some()
    }

    /// Whether the library is done with it.
    pub(crate) fn is_over(&self) -> bool {
        matches!(*self.end.lock(), End::Over)
    }

    /// Bytes received and sent.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.received.load(Relaxed), self.sent.load(Relaxed))
    }

    /// Lets `what` be called when the connection is gone; at once, where it is. Only the first call counts.
    pub(crate) fn at_end(&self, what: impl FnOnce() + Send + 'static) {
        let mut end = self.end.lock();
        match &mut *end {
            End::Open { call, .. } => drop(call.get_or_insert_with(|| Box::new(what))),
            End::Over => {
                drop(end);
                what();
            }
        }
    }

    /// Lets a passenger be told when the connection is over.
    pub(crate) fn carry(&self, passenger: Arc<dyn Passenger>) {
        if let End::Open { passengers, .. } = &mut *self.end.lock() {
            passengers.retain(|other| !other.has_left());
            passengers.push(passenger);
        }
    }

    pub(crate) fn check(&self) -> io::Result<()> {
        if self.aborted.load(Relaxed) { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }

    pub(crate) fn count_received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn count_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Relaxed);
    }

    /// The library is done with the connection.
    pub(crate) fn ended(&self) {
        gauge!(names::SESSIONS).decrement(1);
        self.unproven.lock().take();
        let unsent = self.queue.lock().end();
        self.writer.wake();
        let End::Open { passengers, call } = std::mem::replace(&mut *self.end.lock(), End::Over) else { return };
        passengers.iter().for_each(|passenger| passenger.connection_ended(&unsent));
        if let Some(call) = call {
            call();
        }
    }
}
