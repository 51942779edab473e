//! What waits to be written to a client.

use super::connect_error::mended;
use super::moment::Moment;
use super::ordering::LibraryOrder;
use super::queued::QueuedDelivery;
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Waker;
use tokio::net::tcp::OwnedWriteHalf;

/// So many pieces are written by one call.
const PIECES: usize = 64;
/// A queue that has held more pieces than this gives its memory back when it is empty.
const KEPT: usize = 32;
/// A close frame of a server, without a status, as Node sends it.
pub(super) const CLOSE_FRAME: Bytes = Bytes::from_static(&[0x88, 0]);

/// What waits to be written to one client. Each piece is whole frames of a WebSocket, from the library and from the
/// fan-out; a client that polls gets them in the form of its transport.
pub(super) struct WriteQueue {
    sink: Sink,
    pieces: VecDeque<Piece>,
    /// Bytes of the first piece that are written.
    begun: usize,
    /// Pieces up to the last one of the library.
    ahead: usize,
    /// The connection is closed when all is written; nothing more is taken.
    closing: bool,
    pub(super) turn: Turn,
    pub(super) order: LibraryOrder,
}

/// Where pieces go.
pub(super) enum Sink {
    /// Nowhere: nothing can be written any more.
    Closed,
    /// To the next poll; the one that waits is woken.
    Poll(Option<Waker>),
    /// To a WebSocket.
    Socket(Arc<OwnedWriteHalf>),
}

/// Frames, and the delivery that ends with them.
pub(super) struct Piece {
    frames: Bytes,
    delivery: QueuedDelivery,
}

/// Who writes what waits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nobody: nothing waits, or the next poll takes it.
    Nobody,
    /// The next of the writers.
    Writers,
    /// The task that waits for the client, which is behind, to take what is there.
    Client,
}

/// What a try to write came to.
pub(super) enum Wrote {
    All,
    /// The client does not take more at the moment.
    Some,
    /// It is for the next poll.
    ForPoll,
    /// The connection is of no use any more.
    Failed(io::Error),
}

impl WriteQueue {
    pub(super) fn new(sink: Sink) -> Self {
        let turn = Turn::Nobody;
        Self { sink, pieces: VecDeque::new(), begun: 0, ahead: 0, closing: false, turn, order: LibraryOrder::default() }
    }

    /// The WebSocket that is written to.
    pub(super) fn socket(&self) -> Option<Arc<OwnedWriteHalf>> {
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

    /// How many pieces wait.
    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Whether the client is not there to take something at once: its socket is full, or it does not poll.
    pub(super) fn is_behind(&self) -> bool {
        self.turn == Turn::Client || matches!(self.sink, Sink::Poll(None))
    }

    /// Whether what the library wrote waits for the client. It has one place in the line: what is written beside it
    /// neither keeps it out nor waits for more of it. A poll never holds it up: the library ends no session while it
    /// waits to write.
    pub(super) fn holds_up_library(&self) -> bool {
        self.ahead > 0 && self.turn == Turn::Client
    }

    pub(super) fn push(&mut self, frames: Bytes, delivery: QueuedDelivery) {
        self.pieces.push_back(Piece { frames, delivery });
    }

    /// Takes what the library writes, frame by frame; returns how many bytes.
    pub(super) fn take(&mut self, parts: &[IoSlice<'_>]) -> usize {
        let mut all = BytesMut::with_capacity(parts.iter().map(|part| part.len()).sum());
        parts.iter().for_each(|part| all.extend_from_slice(part));
        let len = all.len();
        let mut all = mended(all.freeze());
        while let Some((end, delivery)) = self.order.next_delivery(&all) {
            let frames = all.split_to(end);
            self.push(frames, delivery);
        }
        if !all.is_empty() {
            self.push(all, QueuedDelivery::NONE);
        }
        self.ahead = self.len();
        len
    }

    /// Nothing more is taken: the connection is closed when what waits is written, and a close frame.
    pub(super) fn close_after_all(&mut self) {
        if !std::mem::replace(&mut self.closing, true) {
            self.push(CLOSE_FRAME, QueuedDelivery::NONE);
        }
    }

    /// Nothing can be written any more. The poll that waits is woken.
    pub(super) fn close(&mut self) {
        self.wake_poll();
        self.sink = Sink::Closed;
        self.turn = Turn::Nobody;
    }

    /// The connection is over. Returns the deliveries that were not written.
    pub(super) fn end(&mut self) -> Vec<QueuedDelivery> {
        self.close();
        let pieces = std::mem::take(&mut self.pieces);
        let unsent = pieces.into_iter().map(|piece| piece.delivery).chain(self.order.take_outstanding());
        unsent.filter(QueuedDelivery::is_recorded).collect()
    }

    /// From now on a WebSocket takes what waits. The poll that waits is woken. False where the client does not poll.
    pub(super) fn switch_to(&mut self, socket: OwnedWriteHalf) -> bool {
        if !self.is_polled() {
            return false;
        }
        self.wake_poll();
        self.sink = Sink::Socket(Arc::new(socket));
        true
    }

    /// Lets `poll` be woken when something waits; none: no poll waits any more.
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

    /// All that waits, for a poll.
    pub(super) fn take_for_poll(&mut self) -> impl Iterator<Item = Bytes> + use<> {
        self.set_poll(None);
        self.ahead = 0;
        std::mem::take(&mut self.pieces).into_iter().map(|piece| piece.frames)
    }

    /// Writes as much as the client takes; adds the bytes to `sent`.
    pub(super) fn write(&mut self, sent: &AtomicU64) -> Wrote {
        while !self.pieces.is_empty() {
            let written = match &mut self.sink {
                Sink::Closed => Err(io::ErrorKind::BrokenPipe.into()),
                Sink::Poll(_) => {
                    self.wake_poll();
                    return Wrote::ForPoll;
                }
                Sink::Socket(socket) => write_once(socket, &self.pieces, self.begun),
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
        if self.pieces.capacity() > KEPT {
            self.pieces = VecDeque::new();
        }
        Wrote::All
    }

    /// When the message was received that waits longest and is recorded.
    pub(super) fn oldest(&self) -> Option<Moment> {
        self.pieces.front().filter(|piece| piece.delivery.is_recorded()).map(|piece| piece.delivery.received)
    }

    fn wrote(&mut self, bytes: usize) {
        self.begun += bytes;
        while let Some(piece) = self.pieces.front().filter(|piece| piece.frames.len() <= self.begun) {
            self.begun -= piece.frames.len();
            self.pieces.pop_front();
            self.ahead = self.ahead.saturating_sub(1);
        }
    }
}

fn write_once(socket: &OwnedWriteHalf, pieces: &VecDeque<Piece>, begun: usize) -> io::Result<usize> {
    let first = &pieces[0].frames[begun..];
    if pieces.len() == 1 {
        return socket.try_write(first);
    }
    let mut parts = [IoSlice::new(first); PIECES];
    parts.iter_mut().zip(pieces).skip(1).for_each(|(part, piece)| *part = IoSlice::new(&piece.frames));
    socket.try_write_vectored(&parts[..pieces.len().min(PIECES)])
}
