//! What waits to be written to a client.

use super::library::Library;
use bytes::{BufMut, Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::net::tcp::OwnedWriteHalf;

/// So many pieces are written by one call.
const PIECES: usize = 64;
/// A queue that has held more pieces than this gives its memory back when it is empty.
const KEPT: usize = 32;

/// What waits to be written to one connection. Each piece is whole: frames of a WebSocket come from the library and from the
/// fan-out.
pub(super) struct Outbox {
    /// None when nothing can be written any more.
    stream: Option<Arc<OwnedWriteHalf>>,
    pieces: VecDeque<Bytes>,
    /// Bytes of the first piece that are written.
    begun: usize,
    /// Pieces up to the last one of the library.
    ahead: usize,
    pub(super) turn: Turn,
    pub(super) library: Library,
}

/// Who writes what waits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nobody: nothing waits.
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
    /// The connection is of no use any more.
    Failed(io::Error),
}

impl Outbox {
    pub(super) fn new(stream: Option<OwnedWriteHalf>) -> Self {
        Self { stream: stream.map(Arc::new), pieces: VecDeque::new(), begun: 0, ahead: 0, turn: Turn::Nobody, library: Library::default() }
    }

    pub(super) fn stream(&self) -> Option<Arc<OwnedWriteHalf>> {
        self.stream.clone()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.stream.is_none()
    }

    /// How many pieces wait.
    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }

    pub(super) fn is_behind(&self) -> bool {
        self.turn == Turn::Client
    }

    /// Whether what the library wrote waits for the client. It has one place in the line: what is written beside it neither
    /// keeps it out nor waits for more of it.
    pub(super) fn holds_up_library(&self) -> bool {
        self.is_behind() && self.ahead > 0
    }

    pub(super) fn push(&mut self, piece: Bytes) {
        self.pieces.push_back(piece);
    }

    /// Takes what the library writes; returns how many bytes.
    pub(super) fn take(&mut self, parts: &[IoSlice<'_>]) -> usize {
        let mut piece = BytesMut::with_capacity(parts.iter().map(|part| part.len()).sum());
        parts.iter().for_each(|part| piece.put_slice(part));
        self.library.writes(&piece);
        let len = piece.len();
        self.push(piece.freeze());
        self.ahead = self.len();
        len
    }

    /// Nothing can be written any more.
    pub(super) fn close(&mut self) {
        self.stream = None;
        self.pieces = VecDeque::new();
        (self.begun, self.ahead, self.turn) = (0, 0, Turn::Nobody);
    }

    /// Writes as much as the client takes; adds the bytes to `sent`.
    pub(super) fn write(&mut self, sent: &AtomicU64) -> Wrote {
        while !self.pieces.is_empty() {
            match self.write_once() {
                Ok(bytes) => {
                    sent.fetch_add(bytes as u64, Relaxed);
                    self.wrote(bytes);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Wrote::Some,
                Err(e) => {
                    self.close();
                    return Wrote::Failed(e);
                }
            }
        }
        if self.pieces.capacity() > KEPT {
            self.pieces = VecDeque::new();
        }
        Wrote::All
    }

    fn write_once(&self) -> io::Result<usize> {
        let stream = self.stream.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        let first = &self.pieces[0][self.begun..];
        if self.pieces.len() == 1 {
            return stream.try_write(first);
        }
        let mut parts = [IoSlice::new(first); PIECES];
        parts.iter_mut().zip(&self.pieces).skip(1).for_each(|(part, piece)| *part = IoSlice::new(piece));
        stream.try_write_vectored(&parts[..self.pieces.len().min(PIECES)])
    }

    fn wrote(&mut self, bytes: usize) {
        self.begun += bytes;
        while let Some(piece) = self.pieces.front().filter(|piece| piece.len() <= self.begun) {
            self.begun -= piece.len();
            self.pieces.pop_front();
            self.ahead = self.ahead.saturating_sub(1);
        }
    }
}
