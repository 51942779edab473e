//! One TCP connection of a client, as the rest of the gateway sees it.

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use socketioxide::socket::Sid;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// What is known of a TCP connection. Shared by its guard and the sessions that use it.
pub(crate) struct Link {
    pub(crate) peer: SocketAddr,
    received: AtomicU64,
    sent: AtomicU64,
    behind: AtomicBool,
    slow: AtomicBool,
    doomed: AtomicBool,
    /// The task that reads.
    pub(super) reader: AtomicWaker,
    end: Mutex<End>,
    all: Arc<Links>,
}

/// What ends with a connection.
enum End {
    None,
    Call(Box<dyn FnOnce() + Send>),
    /// The connection is gone.
    Over,
}

/// All TCP connections of clients together.
#[derive(Default)]
pub(crate) struct Links {
    behind: AtomicUsize,
    /// Sockets that came by polling, whether or not they were upgraded.
    polling: AtomicUsize,
    /// Of sessions that were upgraded from polling: the connection of the WebSocket.
    upgraded: Mutex<HashMap<Sid, Arc<Link>>>,
}

impl Links {
    /// Whether any client is not reading right now, or may not be.
    pub(crate) fn anybody_behind(&self) -> bool {
        self.behind.load(Relaxed) > 0 || self.polling.load(Relaxed) > 0
    }

    /// A socket came by polling.
    pub(super) fn count_polling(&self, polls: bool) {
        self.polling.fetch_add(usize::from(polls), Relaxed);
    }

    /// A socket that came by polling has gone.
    pub(super) fn count_polling_ended(&self, polled: bool) {
        self.polling.fetch_sub(usize::from(polled), Relaxed);
    }

    /// A polling session goes on over `link`.
    pub(crate) fn upgrade(self: &Arc<Self>, sid: Sid, link: &Arc<Link>) {
        self.upgraded.lock().insert(sid, link.clone());
        let all = self.clone();
        link.at_end(move || drop(all.upgraded.lock().remove(&sid)));
    }

    /// The WebSocket connection of a session that was upgraded.
    pub(crate) fn upgraded(&self, sid: Sid) -> Option<Arc<Link>> {
        self.upgraded.lock().get(&sid).cloned()
    }
}

impl Link {
    pub(crate) fn new(peer: SocketAddr, all: Arc<Links>) -> Self {
        Self {
            peer,
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            behind: AtomicBool::new(false),
            slow: AtomicBool::new(false),
            doomed: AtomicBool::new(false),
            reader: AtomicWaker::new(),
            end: Mutex::new(End::None),
            all,
        }
    }

    /// Whether bytes wait that the client does not take.
    pub(crate) fn is_behind(&self) -> bool {
        self.behind.load(Relaxed)
    }

    /// Whether it is, or is about to be, closed because the client reads too slowly.
    pub(crate) fn is_slow(&self) -> bool {
        self.slow.load(Relaxed)
    }

    /// Closes the connection, because the client reads too slowly.
    pub(crate) fn too_slow(&self) {
        self.slow.store(true, Relaxed);
        self.doom();
    }

    /// Closes the connection.
    pub(crate) fn doom(&self) {
        self.doomed.store(true, Relaxed);
        self.reader.wake();
    }

    /// Bytes received and sent.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.received.load(Relaxed), self.sent.load(Relaxed))
    }

    /// Lets `what` be called when the connection is gone; at once, where it is. Only the first call counts: a
    /// connection carries one WebSocket, however many sockets come and go on it.
    pub(crate) fn at_end(&self, what: impl FnOnce() + Send + 'static) {
        let mut end = self.end.lock();
        match *end {
            End::None => *end = End::Call(Box::new(what)),
            End::Call(_) => {}
            End::Over => {
                drop(end);
                what();
            }
        }
    }

    pub(super) fn is_doomed(&self) -> bool {
        self.doomed.load(Relaxed)
    }

    pub(super) fn count_received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn count_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn set_behind(&self, behind: bool) {
        if self.behind.swap(behind, Relaxed) != behind {
            match behind {
                true => self.all.behind.fetch_add(1, Relaxed),
                false => self.all.behind.fetch_sub(1, Relaxed),
            };
        }
    }

    pub(super) fn ended(&self) {
        self.set_behind(false);
        let end = std::mem::replace(&mut *self.end.lock(), End::Over);
        if let End::Call(what) = end {
            what();
        }
    }
}
