//! The queue of frames for a client.

use super::byte_stream::WriteHalf;
use super::connect_error::replace_payloads;
use super::moment::Moment;
use super::ordering::LibraryOrder;
use super::queued::QueuedDelivery;
use super::settings::Settings;
use crate::limits::QueueMemory;
use bytes::{Bytes, BytesMut};
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Waker;

/// Maximum number of pieces in one system call.
const PIECES_PER_WRITE_MAX: usize = 64;
/// An empty queue with a larger capacity frees its memory.
const EMPTY_CAPACITY_MAX: usize = 32;
/// A server's close frame without a status, as Node sends it.
const CLOSE_FRAME: Bytes = Bytes::from_static(&[0x88, 0]);

/// The queue of one client. Each piece consists of whole WebSocket frames, from the library or written directly. A
/// client that polls gets them converted to its transport.
pub(super) struct WriteQueue {
    sink: Sink,
    pieces: VecDeque<Piece>,
    /// Bytes of the pieces.
    bytes: usize,
    /// What is counted of this queue's memory, without the frames.
    counted: usize,
    /// Written bytes of the first piece.
    first_written: usize,
    /// Number of pieces up to and including the library's last one.
    until_library: usize,
    /// Nothing more is accepted, and the connection is closed once the queue is written.
    closing: bool,
    pub(super) turn: Turn,
    pub(super) order: LibraryOrder,
}

/// The destination of the pieces.
pub(super) enum Sink {
    /// No destination: nothing can be written any more.
    Closed,
    /// The next poll, with the waker of a waiting poll.
    Poll(Option<Waker>),
    /// A WebSocket.
    Socket(Arc<WriteHalf>),
}

/// Frames, and the delivery that is complete once they are written.
struct Piece {
    frames: Bytes,
    delivery: QueuedDelivery,
}

/// Who writes the queue.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nobody: the queue is empty, or the next poll takes it.
    Nobody,
    /// One of the writers.
    Writers,
    /// The task that waits until the client's socket is writable.
    Client,
}

/// The result of a write.
pub(super) enum Wrote {
    All,
    /// The client's socket is full.
    Some,
    /// The next poll takes the queue.
    ForPoll,
    /// The connection is broken.
    Failed(io::Error),
}

impl WriteQueue {
    pub(super) fn new(sink: Sink) -> Self {
        let turn = Turn::Nobody;
        Self {
            sink,
            pieces: VecDeque::new(),
            bytes: 0,
            counted: 0,
            first_written: 0,
            until_library: 0,
            closing: false,
            turn,
            order: LibraryOrder::default(),
        }
    }

    /// The WebSocket, if it is the destination.
    pub(super) fn socket(&self) -> Option<Arc<WriteHalf>> {
        match &self.sink {
            Sink::Socket(socket) => Some(socket.clone()),
            Sink::Closed | Sink::Poll(_) => None,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self.sink, Sink::Closed)
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing
    }

    pub(super) fn is_polled(&self) -> bool {
        matches!(self.sink, Sink::Poll(_))
    }

    /// Number of queued pieces.
    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Whether the client cannot take anything immediately: its socket is full, or no poll waits.
    pub(super) fn is_behind(&self) -> bool {
        self.turn == Turn::Client || matches!(self.sink, Sink::Poll(None))
    }

    /// Whether the library must wait before it writes more: its last output is still queued, and the client is slow.
    /// Direct writes do not block the library, and it can queue only one output ahead of them. Polling never blocks it,
    /// because the library cannot end a session while it waits to write.
    pub(super) fn holds_up_library(&self) -> bool {
        self.until_library > 0 && self.turn == Turn::Client
    }

    /// Bytes of the queued frames, and of their entries.
    pub(super) fn memory(&self) -> usize {
        self.bytes + self.len() * size_of::<Piece>()
    }

    /// Whether a frame of `len` bytes is too much for the queue. One frame of any length may wait.
    pub(super) fn is_full_for(&self, len: usize, settings: &Settings) -> bool {
        self.len() >= settings.buffer || (self.len() > 0 && self.bytes + len > settings.queue_bytes)
    }

    /// Whether the library has queued too much.
    pub(super) fn is_overfull(&self, settings: &Settings) -> bool {
        self.len() > settings.buffer || (self.len() > 1 && self.bytes > settings.queue_bytes)
    }

    /// Counts the memory of the entries while the client is behind. A queue that is written at once is not counted, and
    /// costs nothing.
    pub(super) fn count_memory(&mut self, memory: &QueueMemory) {
        let entries = if self.is_behind() { self.len() * size_of::<Piece>() } else { 0 };
        match entries.cmp(&self.counted) {
            Ordering::Greater => memory.add(entries - self.counted),
            Ordering::Less => memory.subtract(self.counted - entries),
            Ordering::Equal => {}
        }
        self.counted = entries;
    }

    pub(super) fn push(&mut self, frames: Bytes, delivery: QueuedDelivery) {
        self.bytes += frames.len();
        self.pieces.push_back(Piece { frames, delivery });
    }

    /// Queues the library's output, frame by frame. Returns the number of bytes.
    pub(super) fn take(&mut self, parts: &[IoSlice<'_>], memory: &Arc<QueueMemory>) -> usize {
        let mut all = BytesMut::with_capacity(parts.iter().map(|part| part.len()).sum());
        parts.iter().for_each(|part| all.extend_from_slice(part));
        let len = all.len();
        let mut all = replace_payloads(all.freeze());
        if self.is_behind() {
            all = memory.count(all);
        }
        while let Some((end, delivery)) = self.order.next_delivery(&all) {
            let frames = all.split_to(end);
            self.push(frames, delivery);
        }
        if !all.is_empty() {
            self.push(all, QueuedDelivery::NONE);
        }
        self.until_library = self.len();
        len
    }

    /// Accepts nothing more, and queues a close frame. The connection is closed once the queue is written.
    pub(super) fn close_when_written(&mut self) {
        if !std::mem::replace(&mut self.closing, true) {
            self.push(CLOSE_FRAME, QueuedDelivery::NONE);
        }
    }

    /// Nothing can be written any more. Wakes the waiting poll.
    pub(super) fn close(&mut self) {
        self.wake_poll();
        self.sink = Sink::Closed;
        self.turn = Turn::Nobody;
    }

    /// The connection has ended. Returns the unwritten deliveries.
    pub(super) fn end(&mut self) -> Vec<QueuedDelivery> {
        self.close();
        self.bytes = 0;
        let pieces = std::mem::take(&mut self.pieces);
        let unsent = pieces.into_iter().map(|piece| piece.delivery).chain(self.order.take_outstanding());
        unsent.filter(QueuedDelivery::is_recorded).collect()
    }

    /// Makes `socket` the destination, and wakes the waiting poll. Returns false if the client does not poll.
    pub(super) fn switch_to(&mut self, socket: WriteHalf) -> bool {
        if !self.is_polled() {
            return false;
        }
        self.wake_poll();
        self.sink = Sink::Socket(Arc::new(socket));
        true
    }

    /// Sets the waker of the waiting poll; `None` if no poll waits.
    pub(super) fn set_poll(&mut self, poll: Option<Waker>) {
        if let Sink::Poll(waiting) = &mut self.sink {
            *waiting = poll;
        }
    }

    /// Whether a poll waits.
    pub(super) fn has_poll(&self) -> bool {
        matches!(self.sink, Sink::Poll(Some(_)))
    }

    pub(super) fn wake_poll(&mut self) {
        if let Sink::Poll(waiting) = &mut self.sink {
            waiting.take().into_iter().for_each(Waker::wake);
        }
    }

    /// Takes the whole queue for a poll.
    pub(super) fn take_for_poll(&mut self) -> impl Iterator<Item = Bytes> + use<> {
        self.set_poll(None);
        self.until_library = 0;
        self.bytes = 0;
        std::mem::take(&mut self.pieces).into_iter().map(|piece| piece.frames)
    }

    /// Writes until the client's socket is full. Adds the number of bytes to `sent`.
    pub(super) fn write(&mut self, sent: &AtomicU64) -> Wrote {
        while !self.pieces.is_empty() {
            let written = match &mut self.sink {
                Sink::Closed => Err(io::ErrorKind::BrokenPipe.into()),
                Sink::Poll(_) => {
                    self.wake_poll();
                    return Wrote::ForPoll;
                }
                Sink::Socket(socket) => write_once(socket, &self.pieces, self.first_written),
            };
            match written {
                Ok(bytes) => {
                    sent.fetch_add(bytes as u64, Relaxed);
                    self.wrote(bytes);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Wrote::Some,
                Err(e) => return Wrote::Failed(e),
            }
        }
        if self.pieces.capacity() > EMPTY_CAPACITY_MAX {
            self.pieces = VecDeque::new();
        }
        Wrote::All
    }

    /// When the message of the first piece was received, if its delivery is recorded.
    pub(super) fn oldest(&self) -> Option<Moment> {
        self.pieces.front().filter(|piece| piece.delivery.is_recorded()).map(|piece| piece.delivery.received)
    }

    fn wrote(&mut self, bytes: usize) {
        self.first_written += bytes;
        while let Some(piece) = self.pieces.front().filter(|piece| piece.frames.len() <= self.first_written) {
            self.first_written -= piece.frames.len();
            self.bytes -= piece.frames.len();
            self.pieces.pop_front();
            self.until_library = self.until_library.saturating_sub(1);
        }
    }
}

fn write_once(socket: &WriteHalf, pieces: &VecDeque<Piece>, written: usize) -> io::Result<usize> {
    let first = &pieces[0].frames[written..];
    if pieces.len() == 1 {
        return socket.try_write(first);
    }
    let mut parts = [IoSlice::new(first); PIECES_PER_WRITE_MAX];
    parts.iter_mut().zip(pieces).skip(1).for_each(|(part, piece)| *part = IoSlice::new(&piece.frames));
    socket.try_write_vectored(&parts[..pieces.len().min(PIECES_PER_WRITE_MAX)])
}
