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
    sent: AtomicU64,
    slow: AtomicBool,
    doomed: AtomicBool,
    outbox: Mutex<Outbox>,
    /// The library's task that reads.
    reader: AtomicWaker,
    /// The library's task that waits until all that it wrote is written.
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
            sent: AtomicU64::new(0),
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

    /// The connection becomes a WebSocket.
    pub(super) fn switch(&self) {
        self.outbox.lock().library.switch();
    }

    /// Lets `frame` be written after all that was sent before to the socket whose last mark is `mark`; where this is
    /// the first that waits, `due` gets this link. Returns whether there was room; none where it has to go through the
    /// library.
    pub(super) fn send(self: &Arc<Self>, frame: &Bytes, mark: &AtomicU64, volatile: bool, due: &mut Vec<Arc<Link>>) -> Option<bool> {
        let mut outbox = self.outbox.lock();
        if outbox.is_closed() || self.check().is_err() || !outbox.library.is_past(mark.load(Relaxed)) {
            return None;
        }
        if volatile && outbox.is_behind() {
            return Some(false);
        }
        // It may be that only who writes has not had the turn yet.
        if outbox.len() >= self.all.buffer
            && let Wrote::Failed(error) = outbox.write(&self.sent)
        {
            self.failed(&error);
            return None;
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
        outbox.turn = match outbox.write(&self.sent) {
            Wrote::All => Turn::Nobody,
            Wrote::Some => {
                tokio::spawn(self.clone().wait_for_client());
                Turn::Client
            }
            Wrote::Failed(error) => {
                self.failed(&error);
                return Err(error);
            }
        };
        Ok(())
    }

    /// Writes as the client takes it, until nothing waits. A client that takes nothing for too long is closed.
    async fn wait_for_client(self: Arc<Self>) {
        loop {
            let Some(stream) = self.outbox.lock().stream() else { break };
            if timeout(self.all.write_timeout, stream.writable()).await.is_err() {
                self.outbox.lock().close();
                return self.too_slow();
            }
            let mut outbox = self.outbox.lock();
            match outbox.write(&self.sent) {
                Wrote::Some if outbox.holds_up_library() => {}
                Wrote::Some => self.writer.wake(),
                Wrote::All => {
                    outbox.turn = Turn::Nobody;
                    break;
                }
                Wrote::Failed(error) => {
                    self.failed(&error);
                    break;
                }
            }
        }
        self.writer.wake();
    }

    /// A read or a write failed. The kernel may lose patience (`TCP_USER_TIMEOUT`) a moment before the gateway does. Otherwise the connection is
    /// left to who reads: something may have arrived before it broke.
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

    /// Takes what the library writes, all of it, when all that it wrote before is written.
    pub(super) fn poll_take(self: &Arc<Self>, cx: &Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut outbox = ready!(self.poll_ready(cx))?;
        let len = outbox.take(parts);
        if !outbox.is_behind() {
            self.write_locked(&mut outbox)?;
        }
        Poll::Ready(Ok(len))
    }

    /// Waits until all that the library wrote is written.
    pub(super) fn poll_written(self: &Arc<Self>, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let mut outbox = ready!(self.poll_ready(cx))?;
        if !outbox.is_behind() {
            self.write_locked(&mut outbox)?;
        }
        drop(outbox);
        self.poll_ready(cx).map_ok(drop)
    }

    fn poll_ready(&self, cx: &Context<'_>) -> Poll<io::Result<MutexGuard<'_, Outbox>>> {
        let outbox = self.outbox.lock();
        if outbox.holds_up_library() {
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

#[cfg(test)]
mod tests {
    use super::super::frame::{first_frame, text_frame};
    use super::*;
    use std::future::poll_fn;
    use std::time::Duration;
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    /// A client and the link to it, of which the library has said that it is a WebSocket, and sent an event with a mark.
    async fn connected(buffer: usize, write_timeout: Duration) -> (TcpStream, Arc<Link>, AtomicU64) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let links = Arc::new(Links::new(buffer, write_timeout));
        let (reads, writes) = stream.into_split();
        std::mem::forget(reads);
        let (link, mark) = (Arc::new(Link::new(peer, Some(writes), links.clone())), AtomicU64::new(0));
        tokio::spawn(async move { links.write().await });
        link.switch();
        assert!(link.send(&text_frame(&["42[]"]), &mark, false, &mut Vec::new()).is_none());
        library_writes(&link, &["0{}"]).await;
        link.send_through_library(&mark, |marks| if marks { Passage::Marked } else { Passage::Unmarked });
        assert!(link.send(&text_frame(&["42[]"]), &mark, false, &mut Vec::new()).is_none());
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
        let sent = link.send(&text_frame(&[text]), mark, volatile, &mut due);
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
                    let number = std::str::from_utf8(payload).unwrap().split(' ').nth(1).and_then(|n| n.parse::<u32>().ok());
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
        assert!(poll_fn(|cx| link.poll_written(cx)).await.is_err());
        assert!(link.is_slow());
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
