//! The library's view of a connection: the stream of a WebSocket, regardless of the client's transport.
//!
//! Its writes go to the connection's write queue, together with the directly written events. Its reads come from the
//! client's WebSocket or, while the client polls, from its POSTs.

use super::byte_stream::ReadHalf;
use super::core::Connection;
use super::namespace_query::Queries;
use super::pace::Pace;
use super::polling::{DescriptorPermit, Post};
use super::protocol::Protocol;
use bytes::{Buf, Bytes};
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;

/// The stream of a connection.
pub(crate) struct Stream {
    source: Source,
    /// Bytes that were already received.
    rest: Bytes,
    pace: Pace,
    queries: Queries,
    connection: Arc<Connection>,
    /// Held while the WebSocket is open.
    permit: Option<DescriptorPermit>,
}

/// The source of a client's frames.
pub(crate) enum Source {
    Socket(ReadHalf),
    Posts(mpsc::Receiver<Post>),
}

impl Stream {
    /// The stream reads `rest` before `source`.
    pub(crate) fn new(
        source: Source,
        rest: Bytes,
        connection: Arc<Connection>,
        permit: Option<DescriptorPermit>,
    ) -> Self {
        Self { source, rest: released(rest), pace: Pace::default(), queries: Queries::default(), connection, permit }
    }

    fn shut_down(&self, how: Shutdown) -> io::Result<()> {
        let Source::Socket(socket) = &self.source else { return Ok(()) };
        match socket.shut_down(how) {
            // The client has already closed it.
            Err(e) if e.kind() == io::ErrorKind::NotConnected => Ok(()),
            shut_down => shut_down,
        }
    }

    /// Reads from `rest`, then from the source.
    fn poll_source(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            self.connection.check_reader(cx)?;
            if !self.rest.is_empty() {
                let len = self.rest.len().min(buffer.remaining());
                self.rest.copy_to_slice(buffer.initialize_unfilled_to(len));
                buffer.advance(len);
                self.rest = released(std::mem::take(&mut self.rest));
                return Poll::Ready(Ok(()));
            }
            let posts = match &mut self.source {
                Source::Socket(socket) => return poll_socket(&self.connection, socket, cx, buffer),
                Source::Posts(posts) => posts,
            };
            match ready!(posts.poll_recv(cx)) {
                Some(Post::Frames(frames)) => self.rest = frames,
                Some(Post::Socket(socket, rest, permit)) => {
                    (self.source, self.rest, self.permit) = (Source::Socket(socket), rest, Some(permit));
                }
                None => return Poll::Ready(Ok(())),
            }
        }
    }
}

/// Releases the buffer behind `rest` if `rest` is empty.
fn released(rest: Bytes) -> Bytes {
    if rest.is_empty() { Bytes::new() } else { rest }
}

fn poll_socket(
    connection: &Connection,
    socket: &mut ReadHalf,
    cx: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    let before = buffer.filled().len();
    let read = socket.poll_read(cx, buffer);
    match &read {
        Poll::Pending => {}
        Poll::Ready(Ok(())) => connection.count_received(buffer.filled().len() - before),
        Poll::Ready(Err(e)) => connection.failed(e),
    }
    read
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (this, before) = (self.get_mut(), buffer.filled().len());
        this.connection.check_reader(cx)?;
        ready!(this.pace.poll_ready(&this.connection, cx));
        let read = this.poll_source(cx, buffer);
        if read.is_pending() {
            this.pace.read_all(&this.connection);
        }
        ready!(read)?;
        this.pace.read(&buffer.filled()[before..], &this.connection.settings.send_limits);
        if this.connection.protocol == Protocol::V3 {
            this.queries.drop_from(&mut buffer.filled_mut()[before..]);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.connection.poll_take(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.connection.poll_take(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.poll_written(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.connection.poll_written(cx))?;
        Poll::Ready(self.shut_down(Shutdown::Write))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connection.ended();
        // Wakes `Connection::wait_for_client`.
        let _ = self.shut_down(Shutdown::Both);
    }
}
