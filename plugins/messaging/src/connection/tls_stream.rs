//! The stream of a WebSocket over TLS, which one task reads while others write.

use parking_lot::Mutex;
use rustls::ServerConnection;
use socket2::SockRef;
use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::task::{Context, Poll, ready};
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream as HttpTlsStream;

/// A TLS connection after its handshake.
pub(crate) struct TlsStream {
    tcp: TcpStream,
    session: Mutex<Session>,
}

struct Session {
    tls: ServerConnection,
    /// Encrypted bytes of the last write, counted before encryption, of which the socket has not accepted all.
    unsent: usize,
}

/// The TCP stream, without waiting.
struct NonBlocking<'a>(&'a TcpStream);

impl TlsStream {
    pub(super) fn new(stream: HttpTlsStream<TcpStream>) -> Self {
        let (tcp, tls) = stream.into_inner();
        Self { tcp, session: Mutex::new(Session { tls, unsent: 0 }) }
    }

    pub(super) fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.session.lock().read(&self.tcp, buffer.initialize_unfilled()) {
                Ok(len) => {
                    buffer.advance(len);
                    return Poll::Ready(Ok(()));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
            ready!(self.tcp.poll_read_ready(cx))?;
        }
    }

    /// The parts count as written once the socket has accepted all that they were encrypted to. If it has not, the next
    /// call must begin with the same parts.
    pub(super) fn try_write_vectored(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut session = self.session.lock();
        if session.unsent == 0 {
            session.unsent = session.tls.writer().write_vectored(parts)?;
        }
        session.flush(&self.tcp)?;
        Ok(std::mem::take(&mut session.unsent))
    }

    pub(super) async fn writable(&self) -> io::Result<()> {
        self.tcp.writable().await
    }

    pub(super) fn shut_down(&self, how: Shutdown) -> io::Result<()> {
        {
            let mut session = self.session.lock();
            session.tls.send_close_notify();
            // A client that does not read learns of the end from TCP.
            let _ = session.flush(&self.tcp);
        }
        SockRef::from(&self.tcp).shutdown(how)
    }
}

impl Session {
    fn read(&mut self, tcp: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.tls.reader().read(buffer) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                // Clients end a WebSocket with a close frame, and many of them TLS with nothing.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            self.tls.read_tls(&mut NonBlocking(tcp))?;
            let processed = self.tls.process_new_packets();
            // An alert, or the answer to a new key. What the socket does not accept goes with the next write.
            let _ = self.flush(tcp);
            processed.map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        }
    }

    fn flush(&mut self, tcp: &TcpStream) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut NonBlocking(tcp))?;
        }
        Ok(())
    }
}

impl Read for NonBlocking<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for NonBlocking<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
