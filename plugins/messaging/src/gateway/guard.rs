//! Keeps a client that stops reading from holding its session for ever: a write that has been pending for
//! too long fails, and with it everything on that connection.

use super::link::Link;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// A client's TCP stream.
pub(super) struct Guarded {
    stream: TcpStream,
    link: Arc<Link>,
    limit: Duration,
    /// Runs while a write is pending. In a box, because it is rare and streams are many.
    pending: Option<Pin<Box<Sleep>>>,
}

impl Guarded {
    pub(super) fn new(stream: TcpStream, link: Arc<Link>, limit: Duration) -> Self {
        Self { stream, link, limit, pending: None }
    }

    /// The outcome of a write that was tried.
    fn written(&mut self, cx: &mut Context<'_>, wrote: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if wrote.is_pending() {
            self.link.set_behind(true);
            let limit = self.limit;
            let pending = self.pending.get_or_insert_with(|| Box::pin(sleep(limit)));
            ready!(pending.as_mut().poll(cx));
            self.link.too_slow();
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if self.pending.take().is_some() {
            self.link.set_behind(false);
        }
        match &wrote {
            Poll::Ready(Ok(bytes)) => self.link.count_sent(*bytes),
            Poll::Ready(Err(e)) => self.failed(e),
            Poll::Pending => {}
        }
        wrote
    }

    /// The kernel may lose patience (`TCP_USER_TIMEOUT`) a moment before the guard does.
    fn failed(&self, error: &io::Error) {
        if error.kind() == io::ErrorKind::TimedOut {
            self.link.too_slow();
        }
    }

    fn check(&self) -> io::Result<()> {
        if self.link.is_doomed() { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}

impl AsyncRead for Guarded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if read.is_pending() {
            self.link.reader.register(cx.waker());
            self.check()?;
        }
        if let Poll::Ready(Err(e)) = &read {
            self.failed(e);
        }
        self.link.count_received(buffer.filled().len() - before);
        read
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        let wrote = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(cx, wrote)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.check()?;
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.written(cx, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.link.ended();
    }
}
