//! The connection of one client, from its handshake to its end, as the rest of the gateway sees it: it may begin with
//! polling and go on over a WebSocket.

mod polling;

use super::admission::Unproven;
use super::links::Links;
use super::outbox::{Delivery, Outbox, Sink, Turn, Wrote};
use super::protocol::Protocol;
use crate::metrics as names;
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use metrics::gauge;
use parking_lot::{Mutex, MutexGuard};
pub(super) use polling::{Polled, Polling, Post, Slot};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::time::timeout;

/// How long a client may take for the last word that is sent to it.
pub(crate) const FAREWELL: Duration = Duration::from_secs(1);

/// What is known of a client's connection, and what is to be written to it. Shared by its stream and the sessions that
/// use it.
pub(crate) struct Link {
    pub(crate) peer: SocketAddr,
    pub(crate) protocol: Protocol,
    websocket: AtomicBool,
    received: AtomicU64,
    sent: AtomicU64,
    slow: AtomicBool,
    doomed: AtomicBool,
    /// Why the server closes it.
    reason: OnceLock<&'static str>,
    outbox: Mutex<Outbox>,
    /// The library's task that reads.
    reader: AtomicWaker,
    /// The library's task that waits until all that it wrote is written.
    writer: AtomicWaker,
    polling: Option<Polling>,
    end: Mutex<End>,
    /// Until one of its sessions has authenticated.
    unproven: Mutex<Option<Unproven>>,
    all: Arc<Links>,
}

/// Who is told when a connection is over.
pub(super) trait Passenger: Send + Sync {
    /// It does not want to be told any more.
    fn has_left(&self) -> bool;
    /// The connection is over; `unsent` are the deliveries that were not written, its own among them.
    fn link_ended(&self, unsent: &[Delivery]);
}

/// What ends with a connection.
enum End {
    Open { passengers: Vec<Arc<dyn Passenger>>, call: Option<Box<dyn FnOnce() + Send>> },
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
    /// `polling` is what a connection has that begins with it; `socket` is the WebSocket of one that begins so.
    pub(super) fn new(
        (peer, protocol): (SocketAddr, Protocol),
        socket: Option<OwnedWriteHalf>,
        polling: Option<Polling>,
        unproven: Option<Unproven>,
        all: Arc<Links>,
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
            doomed: AtomicBool::new(false),
            reason: OnceLock::new(),
            outbox: Mutex::new(Outbox::new(sink)),
            reader: AtomicWaker::new(),
            writer: AtomicWaker::new(),
            polling,
            end: Mutex::new(End::Open { passengers: Vec::new(), call: None }),
            unproven: Mutex::new(unproven),
            all,
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

    /// Closes the connection at once.
    pub(crate) fn doom(&self) {
        self.doomed.store(true, Relaxed);
        self.reader.wake();
        self.writer.wake();
    }

    /// Closes the connection when all is written that waits, within a moment. To be called in a runtime.
    pub(crate) fn close(self: &Arc<Self>) {
        {
            let mut outbox = self.outbox.lock();
            if outbox.is_closed() || outbox.is_closing() {
                return;
            }
            outbox.close_after_all();
            if !outbox.is_behind() && outbox.turn == Turn::Nobody {
                self.write_locked(&mut outbox);
            }
        }
        let link = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(FAREWELL).await;
            link.doom();
        });
    }

    /// Says why the server is about to close it; the first word counts.
    pub(crate) fn because(&self, reason: &'static str) {
        let _ = self.reason.set(reason);
    }

    /// Why the server closed it.
    pub(crate) fn reason(&self) -> Option<&'static str> {
        if self.is_slow() { Some("slow client") } else { self.reason.get().copied() }
    }

    /// One of its sessions has authenticated.
    pub(super) fn proven(&self) {
        self.unproven.lock().take();
    }

    /// Whether none of its sessions has authenticated.
    pub(super) fn is_unproven(&self) -> bool {
        self.unproven.lock().is_some()
    }

    /// Whether the library is done with it.
    pub(super) fn is_over(&self) -> bool {
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
    pub(super) fn carry(&self, passenger: Arc<dyn Passenger>) {
        if let End::Open { passengers, .. } = &mut *self.end.lock() {
            passengers.retain(|other| !other.has_left());
            passengers.push(passenger);
        }
    }

    /// Lets `frame` be written after all that was sent before to the socket whose last mark is `mark`; where this is
    /// the first that waits, `due` gets this link. Returns whether there was room; none where it has to go through the
    /// library.
    pub(super) fn send(
        self: &Arc<Self>,
        frame: &Bytes,
        mark: &AtomicU64,
        volatile: bool,
        delivery: Delivery,
        due: &mut Vec<Arc<Link>>,
    ) -> Option<bool> {
        let mut outbox = self.outbox.lock();
        if outbox.is_closing() || outbox.is_closed() {
            return Some(false);
        }
        if self.check().is_err() || !outbox.library.is_past(mark.load(Relaxed)) {
            return None;
        }
        if volatile && outbox.is_behind() {
            return Some(false);
        }
        // It may be that only who writes has not had the turn yet.
        if outbox.len() >= self.all.buffer
            && let Wrote::Failed(error) = outbox.write(&self.sent)
        {
            self.broke(&mut outbox, &error);
            return Some(false);
        }
        if outbox.len() >= self.all.buffer {
            return Some(false);
        }
        outbox.push(frame.clone(), delivery);
        if outbox.turn == Turn::Nobody {
            outbox.turn = Turn::Writers;
            due.push(self.clone());
        }
        Some(true)
    }

    /// Sends through the library; `send` returns how.
    pub(super) fn send_through_library(&self, mark: &AtomicU64, delivery: Delivery, send: impl FnOnce() -> Passage) {
        // Locked meanwhile: marks come out in the order in which they are counted.
        let mut outbox = self.outbox.lock();
        match send() {
            Passage::Marked => mark.store(outbox.library.mark(delivery), Relaxed),
            Passage::Unmarked => mark.store(0, Relaxed),
            Passage::Refused => {}
        }
    }

    /// Writes what waits. To be called in a runtime.
    pub(super) fn write(self: &Arc<Self>) {
        let mut outbox = self.outbox.lock();
        if outbox.turn == Turn::Writers {
            self.write_locked(&mut outbox);
        }
    }

    fn write_locked(self: &Arc<Self>, outbox: &mut MutexGuard<'_, Outbox>) {
        let oldest = outbox.oldest();
        outbox.turn = match outbox.write(&self.sent) {
            Wrote::All => {
                self.all.count_delay(oldest);
                if outbox.is_closing() {
                    self.doom();
                }
                Turn::Nobody
            }
            Wrote::ForPoll => Turn::Nobody,
            Wrote::Some => {
                tokio::spawn(self.clone().wait_for_client());
                Turn::Client
            }
            Wrote::Failed(error) => return self.broke(outbox, &error),
        };
    }

    /// Writes as the client takes it, until nothing waits. A client that takes nothing for too long is closed.
    async fn wait_for_client(self: Arc<Self>) {
        loop {
            let Some(socket) = self.outbox.lock().socket() else { break };
            if timeout(self.all.write_timeout, socket.writable()).await.is_err() {
                self.outbox.lock().close();
                return self.too_slow();
            }
            let mut outbox = self.outbox.lock();
            let oldest = outbox.oldest();
            match outbox.write(&self.sent) {
                Wrote::Some if outbox.holds_up_library() => {}
                Wrote::Some => self.writer.wake(),
                Wrote::All | Wrote::ForPoll => {
                    self.all.count_delay(oldest);
                    if outbox.is_closing() {
                        self.doom();
                    }
                    outbox.turn = Turn::Nobody;
                    break;
                }
                Wrote::Failed(error) => {
                    self.broke(&mut outbox, &error);
                    break;
                }
            }
        }
        self.writer.wake();
    }

    /// A write failed.
    fn broke(&self, outbox: &mut MutexGuard<'_, Outbox>, error: &io::Error) {
        outbox.close();
        self.failed(error);
    }

    /// A read or a write failed. The kernel may lose patience (`TCP_USER_TIMEOUT`) a moment before the gateway does.
    /// Otherwise the connection is left to who reads: something may have arrived before it broke.
    pub(super) fn failed(&self, error: &io::Error) {
        if error.kind() == io::ErrorKind::TimedOut {
            self.too_slow();
        }
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

    pub(super) fn count_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Relaxed);
    }

    /// Takes what the library writes, all of it, when all that it wrote before is written. Never fails: that a
    /// connection broke is for who reads, so that the library ends each session in one way, also one whose open packet
    /// cannot be written.
    pub(super) fn poll_take(self: &Arc<Self>, cx: &Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut outbox = ready!(self.poll_ready(cx));
        if outbox.is_closing() || outbox.is_closed() {
            return Poll::Ready(Ok(parts.iter().map(|part| part.len()).sum()));
        }
        let len = outbox.take(parts);
        if outbox.is_polled() && outbox.len() > self.all.buffer {
            self.too_slow();
        }
        if !outbox.is_behind() {
            self.write_locked(&mut outbox);
        }
        Poll::Ready(Ok(len))
    }

    /// Waits until all that the library wrote is written.
    pub(super) fn poll_written(self: &Arc<Self>, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let mut outbox = ready!(self.poll_ready(cx));
        if !outbox.is_behind() && !outbox.is_closed() {
            self.write_locked(&mut outbox);
        }
        drop(outbox);
        self.poll_ready(cx).map(|_| Ok(()))
    }

    fn poll_ready(&self, cx: &Context<'_>) -> Poll<MutexGuard<'_, Outbox>> {
        let outbox = self.outbox.lock();
        if outbox.holds_up_library() && self.check().is_ok() {
            self.writer.register(cx.waker());
            // It may have been doomed meanwhile.
            if self.check().is_ok() {
                return Poll::Pending;
            }
        }
        Poll::Ready(outbox)
    }

    /// The library is done with the connection.
    pub(super) fn ended(&self) {
        gauge!(names::SESSIONS).decrement(1);
        self.unproven.lock().take();
        let unsent = self.outbox.lock().end();
        self.writer.wake();
        let End::Open { passengers, call } = std::mem::replace(&mut *self.end.lock(), End::Over) else { return };
        passengers.iter().for_each(|passenger| passenger.link_ended(&unsent));
        if let Some(call) = call {
            call();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::{first_frame, text_frame};
    use super::*;
    use std::future::poll_fn;
    use std::time::Duration;
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    /// A client and the link to it, of which the library has said that it is a WebSocket, and sent an event with a
    /// mark.
    async fn connected(buffer: usize, write_timeout: Duration) -> (TcpStream, Arc<Link>, AtomicU64) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let links = Arc::new(Links::new(buffer, write_timeout));
        let (reads, writes) = stream.into_split();
        std::mem::forget(reads);
        let (link, mark) =
            (Arc::new(Link::new((peer, Protocol::V4), Some(writes), None, None, links.clone())), AtomicU64::new(0));
        tokio::spawn(async move { links.write().await });
        assert!(link.send(&text_frame(&["42[]"]), &mark, false, Delivery::NONE, &mut Vec::new()).is_none());
        library_writes(&link, &["0{}"]).await;
        link.send_through_library(&mark, Delivery::NONE, || Passage::Marked);
        assert!(link.send(&text_frame(&["42[]"]), &mark, false, Delivery::NONE, &mut Vec::new()).is_none());
        library_writes(&link, &["42[\"first\"] "]).await;
        (client, link, mark)
    }

    async fn library_writes(link: &Arc<Link>, texts: &[&str]) {
        let frames: Vec<Bytes> = texts.iter().map(|text| text_frame(&[text])).collect();
        let parts: Vec<IoSlice<'_>> = frames.iter().map(|frame| IoSlice::new(frame)).collect();
        poll_fn(|cx| link.poll_take(cx, &parts)).await.unwrap();
    }

    fn send(link: &Arc<Link>, mark: &AtomicU64, text: &str, volatile: bool) -> Option<bool> {
        let mut due = Vec::new();
        let sent = link.send(&text_frame(&[text]), mark, volatile, Delivery::NONE, &mut due);
        link.all.write_to(due);
        sent
    }

    #[tokio::test]
    async fn a_slow_client_gets_what_comes_from_both_sides_whole_and_in_order() {
        let (mut client, link, mark) = connected(100_000, Duration::from_secs(60)).await;
        let reading = tokio::spawn(async move {
            let (mut bytes, mut numbers) = (Vec::new(), Vec::new());
            while numbers.last() != Some(&1999) {
                // By little, so that it is behind again and again.
                let mut some = [0; 30_000];
                let count = client.read(&mut some).await.unwrap();
                bytes.extend_from_slice(&some[..count]);
                while let Some((_, payload, rest)) = first_frame(&bytes) {
                    let number =
                        std::str::from_utf8(payload).unwrap().split(' ').nth(1).and_then(|n| n.parse::<u32>().ok());
                    numbers.extend(number);
                    bytes = rest.to_vec();
                }
            }
            numbers
        });
        let mut behind = 0;
        for n in 0..2000 {
            let text = format!("x {n} {}", "y".repeat(n * 37 % 9000));
            match n % 7 {
                0 => library_writes(&link, &[&text]).await,
                _ => assert_eq!(send(&link, &mark, &text, false), Some(true)),
            }
            behind += usize::from(link.is_behind());
        }
        assert_eq!(reading.await.unwrap(), (0..2000).collect::<Vec<_>>());
        assert!(behind > 0 && !link.is_slow());
        assert_eq!(send(&link, &mark, "more", true), Some(true));
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_has_a_bounded_queue_and_is_closed() {
        let (client, link, mark) = connected(3, Duration::from_millis(200)).await;
        let large = "x".repeat(10 << 20);
        assert_eq!(send(&link, &mark, &large, false), Some(true));
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while !link.is_behind() {
            assert!(tokio::time::Instant::now() < deadline);
            tokio::task::yield_now().await;
        }
        assert_eq!(send(&link, &mark, "volatile", true), Some(false));
        assert_eq!([0; 3].map(|_| send(&link, &mark, "x", false)), [Some(true), Some(true), Some(false)]);
        // Who waits for it in the library learns that it is over.
        library_writes(&link, &["2"]).await;
        poll_fn(|cx| link.poll_written(cx)).await.unwrap();
        assert!(link.is_slow() && link.check().is_err());
        assert_eq!(link.outbox.lock().end().len(), 0, "deliveries that are not recorded");
        drop(client);
    }

    #[tokio::test]
    async fn what_is_written_beside_the_library_does_not_keep_it_out() {
        let (mut client, link, mark) = connected(1000, Duration::from_secs(60)).await;
        let reading = tokio::spawn(async move {
            let mut some = vec![0; 100_000];
            while client.read(&mut some).await.is_ok_and(|count| count > 0) {}
        });
        let piece = "x".repeat(1 << 20);
        let fill = || {
            while link.outbox.lock().len() < 20 {
                assert_eq!(send(&link, &mark, &piece, false), Some(true));
            }
        };
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while !link.is_behind() {
            assert!(tokio::time::Instant::now() < deadline);
            fill();
            tokio::task::yield_now().await;
        }
        let mut library = std::pin::pin!(async {
            for _ in 0..100 {
                library_writes(&link, &["2"]).await;
                poll_fn(|cx| link.poll_written(cx)).await.unwrap();
            }
        });
        // There is always something that waits.
        let keep_behind = async {
            loop {
                fill();
                assert!(link.is_behind());
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = &mut library => {}
            () = keep_behind => {}
            () = tokio::time::sleep(Duration::from_secs(20)) => panic!("the library waits for ever"),
        }
        reading.abort();
    }

    #[tokio::test]
    async fn many_at_once_are_no_reason_to_drop_where_the_client_reads() {
        let (mut client, link, mark) = connected(10, Duration::from_secs(60)).await;
        // The writers have no turn meanwhile.
        for _ in 0..1000 {
            assert_eq!(send(&link, &mark, "x", false), Some(true));
        }
        let mut bytes = vec![0; 1000 * 3];
        tokio::time::timeout(Duration::from_secs(10), client.read_exact(&mut bytes)).await.unwrap().unwrap();
    }
}
