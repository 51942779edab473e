//! A client's TCP stream as the library has it. What it writes goes into the link's outbox, where it meets what is
//! written beside it. A client that stops reading does not hold its session for ever: everything on the connection fails.

use super::link::Link;
use super::links::Links;
use socket2::SockRef;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;

/// A client's TCP stream.
pub(super) struct Guarded {
    stream: OwnedReadHalf,
    link: Arc<Link>,
}

impl Guarded {
    /// Guards a stream.
    pub(super) fn new(stream: TcpStream, peer: SocketAddr, all: Arc<Links>) -> Self {
        let (stream, writes) = stream.into_split();
        Self { stream, link: Arc::new(Link::new(peer, Some(writes), all)) }
    }

    pub(super) fn link(&self) -> Arc<Link> {
        self.link.clone()
    }

    fn shut_down(&self, how: Shutdown) -> io::Result<()> {
        match SockRef::from(self.stream.as_ref()).shutdown(how) {
            // The client was first.
            Err(e) if e.kind() == io::ErrorKind::NotConnected => Ok(()),
            shut_down => shut_down,
        }
    }
}

impl AsyncRead for Guarded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.link.check()?;
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        match &read {
            Poll::Pending => self.link.check_reader(cx)?,
            Poll::Ready(Ok(())) => self.link.count_received(buffer.filled().len() - before),
            Poll::Ready(Err(e)) => self.link.failed(e),
        }
        read
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.link.poll_take(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.link.poll_take(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.link.poll_written(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.link.poll_written(cx))?;
        Poll::Ready(self.shut_down(Shutdown::Write))
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.link.ended();
        // The task that waits for the client (`Link::wait_for_client`) notices by it.
        let _ = self.shut_down(Shutdown::Both);
    }
}
