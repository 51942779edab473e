//! One TCP connection of a client, as the rest of the gateway sees it.

use super::links::Links;
use super::outbox::{Outbox, Turn, Wrote};
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use parking_lot::{Mutex, MutexGuard};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::time::timeout;

/// What is known of a TCP connection, and what is to be written to it. Shared by its guard and the sessions that use it.
pub(crate) struct Link {
    pub(crate) peer: SocketAddr,
    received: AtomicU64,
    slow: AtomicBool,
    doomed: AtomicBool,
    outbox: Mutex<Outbox>,
    /// The library's task that reads.
    reader: AtomicWaker,
    /// The library's task that waits until everything is written.
    writer: AtomicWaker,
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

/// How an event went into the library's queue.
pub(super) enum Passage {
    /// With a mark at its end.
    Marked,
    /// Without: what is sent later to the same socket goes through the library until a mark after it has come out.
    Unmarked,
    /// There was no room.
    Refused,
}

impl Link {
    pub(crate) fn new(peer: SocketAddr, stream: Option<OwnedWriteHalf>, all: Arc<Links>) -> Self {
        Self {
            peer,
            received: AtomicU64::new(0),
            slow: AtomicBool::new(false),
            doomed: AtomicBool::new(false),
            outbox: Mutex::new(Outbox::new(stream)),
            reader: AtomicWaker::new(),
            writer: AtomicWaker::new(),
            end: Mutex::new(End::None),
            all,
        }
    }

    /// Whether bytes wait that the client does not take.
    pub(crate) fn is_behind(&self) -> bool {
        self.outbox.lock().is_behind()
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
        self.writer.wake();
    }

    /// Bytes received and sent.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.received.load(Relaxed), self.outbox.lock().sent)
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

    /// The connection becomes a WebSocket.
    pub(super) fn switch(&self) {
        self.outbox.lock().library.switch();
    }

    /// Lets `frame` be written after all that was sent before to the socket whose last mark is `mark`; where this is
    /// the first that waits, `due` gets this link. Returns whether there was room; none where it has to go through the
    /// library.
    pub(super) fn send(self: &Arc<Self>, frame: &Bytes, mark: &AtomicU64, volatile: bool, due: &mut Vec<Arc<Link>>) -> Option<bool> {
        let mut outbox = self.outbox.lock();
        if outbox.is_closed() || !outbox.library.is_past(mark.load(Relaxed)) {
            return None;
        }
        if volatile && outbox.is_behind() {
            return Some(false);
        }
        if outbox.len() >= self.all.buffer && !outbox.is_behind() {
            // It may be that only the writers have not had their turn yet.
            outbox.write();
        }
        if outbox.len() >= self.all.buffer {
            return Some(false);
        }
        outbox.push(frame.clone());
        if outbox.turn == Turn::Nobody {
            outbox.turn = Turn::Writers;
            due.push(self.clone());
        }
        Some(true)
    }

    /// Sends through the library. `send` is told whether a mark at the end is of use.
    pub(super) fn send_through_library(&self, mark: &AtomicU64, send: impl FnOnce(bool) -> Passage) {
        // Locked meanwhile: marks come out in the order in which they are counted.
        let mut outbox = self.outbox.lock();
        match send(outbox.library.is_websocket()) {
            Passage::Marked => mark.store(outbox.library.mark(), Relaxed),
            Passage::Unmarked => mark.store(0, Relaxed),
            Passage::Refused => {}
        }
    }

    /// Writes what waits. To be called in a runtime.
    pub(super) fn write(self: &Arc<Self>) {
        let mut outbox = self.outbox.lock();
        if outbox.turn == Turn::Writers {
            let _ = self.write_locked(&mut outbox);
        }
    }

    fn write_locked(self: &Arc<Self>, outbox: &mut MutexGuard<'_, Outbox>) -> io::Result<()> {
        outbox.turn = match outbox.write() {
            Wrote::All => Turn::Nobody,
            Wrote::Some => {
                tokio::spawn(self.clone().wait_for_client());
                Turn::Straggler
            }
            Wrote::Failed(error) => {
                outbox.turn = Turn::Nobody;
                return self.failed(error);
            }
        };
        Ok(())
    }

    /// Writes as the client takes it, until nothing waits. A client that takes nothing for too long is closed.
    async fn wait_for_client(self: Arc<Self>) {
        loop {
            let Some(stream) = self.outbox.lock().stream() else { break };
            if timeout(self.all.write_timeout, stream.writable()).await.is_err() {
                return self.too_slow();
            }
            let mut outbox = self.outbox.lock();
            match outbox.write() {
                Wrote::Some => {}
                Wrote::All => {
                    outbox.turn = Turn::Nobody;
                    break;
                }
                Wrote::Failed(error) => {
                    outbox.turn = Turn::Nobody;
                    let _ = self.failed(error);
                    break;
                }
            }
        }
        self.writer.wake();
    }

    /// The kernel may lose patience (`TCP_USER_TIMEOUT`) a moment before the gateway does. Otherwise the connection is
    /// left to who reads: something may have arrived before it broke.
    fn failed(&self, error: io::Error) -> io::Result<()> {
        if error.kind() == io::ErrorKind::TimedOut {
            self.too_slow();
        }
        Err(error)
    }

    /// For the library's task that reads: an error where the connection is to be closed, of which it is told as well
    /// when that comes.
    pub(super) fn check_reader(&self, cx: &Context<'_>) -> io::Result<()> {
        self.reader.register(cx.waker());
        self.check()
    }

    pub(super) fn check(&self) -> io::Result<()> {
        if self.doomed.load(Relaxed) { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }

    pub(super) fn count_received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Relaxed);
    }

    /// A read failed.
    pub(super) fn read_failed(&self, error: &io::Error) {
        if error.kind() == io::ErrorKind::TimedOut {
            self.too_slow();
        }
    }

    /// Takes what the library writes, all of it, when nothing waits that the client does not take.
    pub(super) fn poll_take(self: &Arc<Self>, cx: &Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut outbox = ready!(self.poll_ready(cx))?;
        let len = outbox.take(parts);
        Poll::Ready(self.write_locked(&mut outbox).map(|()| len))
    }

    /// Waits until everything is written.
    pub(super) fn poll_written(self: &Arc<Self>, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let mut outbox = ready!(self.poll_ready(cx))?;
        self.write_locked(&mut outbox)?;
        drop(outbox);
        self.poll_ready(cx).map_ok(drop)
    }

    fn poll_ready(&self, cx: &Context<'_>) -> Poll<io::Result<MutexGuard<'_, Outbox>>> {
        let outbox = self.outbox.lock();
        if outbox.is_behind() {
            self.writer.register(cx.waker());
            self.check()?;
            return Poll::Pending;
        }
        self.check()?;
        Poll::Ready(Ok(outbox))
    }

    /// The library is done with the connection.
    pub(super) fn ended(&self) {
        self.outbox.lock().close();
        let end = std::mem::replace(&mut *self.end.lock(), End::Over);
        if let End::Call(what) = end {
            what();
        }
    }
}
