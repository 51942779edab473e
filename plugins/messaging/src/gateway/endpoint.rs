//! An address that the gateway listens on, and what comes before the first request of a connection to it.

use super::proxy_header::{self, ProxyHeaderError};
use super::unix_socket::UnixSocket;
use crate::config::{ListenAddress, ListenerConfig};
use crate::connection::ByteStream;
use crate::proxies::{ClientEnd, Proxies};
use greyhound_sdk::tls::{Tls, joined};
use socket2::SockRef;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Time for the header of the PROXY protocol and the handshake of TLS.
const ENTRY_TIMEOUT: Duration = Duration::from_secs(10);

/// An endpoint of the gateway.
pub(crate) struct Endpoint {
    socket: ListeningSocket,
    entry: Arc<Entry>,
}

enum ListeningSocket {
    Tcp(TcpListener),
    Unix(UnixSocket),
}

/// What comes before the first request.
pub(super) struct Entry {
    proxies: Proxies,
    proxy_protocol: bool,
    tls: Option<Arc<Tls>>,
    /// The kernel closes a connection whose client acknowledges no data for this long.
    write_timeout: Duration,
    /// A missing header of the PROXY protocol is a mistake of the configuration, but anybody can cause one: the log has
    /// the first.
    warned: AtomicBool,
}

/// A new connection.
pub(super) struct Accepted {
    pub(super) stream: ByteStream,
    /// Where it comes from.
    end: PeerEnd,
    pub(super) entry: Arc<Entry>,
}

/// The other end of a connection.
#[derive(Clone, Copy)]
pub(super) struct PeerEnd {
    pub(super) client: ClientEnd,
    /// Whether it is a proxy that reports its clients in the heads of requests.
    pub(super) is_proxy: bool,
}

/// The endpoint cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EndpointError {
    #[error("cannot listen on {address}: {why}; set {key} to an address that is free")]
    Address { address: ListenAddress, key: String, why: io::Error },
    #[error("{0}")]
    Tls(String),
}

/// Why a connection was closed before its first request.
#[derive(Debug, thiserror::Error)]
pub(super) enum EntryError {
    #[error("no header of the PROXY protocol and no handshake of TLS within {ENTRY_TIMEOUT:?}")]
    Timeout,
    #[error("{0} is not a trusted proxy")]
    Stranger(std::net::IpAddr),
    #[error("no valid header of the PROXY protocol: {0}")]
    ProxyHeader(#[from] ProxyHeaderError),
    #[error("no handshake of TLS: {0}")]
    Tls(io::Error),
}

// === impl Endpoint ===

impl Endpoint {
    /// Opens the endpoint that the section `prefix` describes. Must be called in a runtime.
    pub(crate) async fn open(
        (prefix, config): (&str, &ListenerConfig),
        proxies: &Proxies,
        write_timeout: Duration,
    ) -> Result<Self, EndpointError> {
        let tls =
            config.tls.files().map(Tls::load).transpose().map_err(|errors| EndpointError::Tls(joined(&errors)))?;
        let socket = match &config.listen {
            ListenAddress::Tcp(address) => TcpListener::bind(address).await.map(ListeningSocket::Tcp),
            ListenAddress::Unix(path) => UnixSocket::bind(path).map(ListeningSocket::Unix),
        };
        let socket = socket.map_err(|why| EndpointError::Address {
            address: config.listen.clone(),
            key: format!("plugins.messaging.{prefix}listen"),
            why,
        })?;
        let (proxies, proxy_protocol, tls) = (proxies.clone(), config.proxy_protocol, tls.map(Arc::new));
        Ok(Self {
            socket,
            entry: Arc::new(Entry { proxies, proxy_protocol, tls, write_timeout, warned: AtomicBool::new(false) }),
        })
    }

    /// The TLS, whose files must be reloaded.
    pub(super) fn tls(&self) -> Option<Arc<Tls>> {
        self.entry.tls.clone()
    }

    /// The URL for clients.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.entry.tls.is_some() { "https" } else { "http" };
        match &self.socket {
            ListeningSocket::Tcp(tcp) => {
                tcp.local_addr().map_or_else(|_| "?".into(), |address| format!("{scheme}://{address}"))
            }
            ListeningSocket::Unix(unix) => format!("unix:{}", unix.path().display()),
        }
    }

    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let (stream, address, is_proxy) = match &self.socket {
            ListeningSocket::Tcp(tcp) => {
                let (stream, peer) = ready!(tcp.poll_accept(cx))?;
                let address = peer.ip().to_canonical();
                (ByteStream::Tcp(stream), address, self.entry.proxies.trust(address))
            }
            // Only programs on this machine that may write to the socket connect to it: proxies.
            ListeningSocket::Unix(unix) => {
                (ByteStream::Unix(ready!(unix.poll_accept(cx))?), Ipv4Addr::LOCALHOST.into(), true)
            }
        };
        let end = PeerEnd { client: ClientEnd { address, secure: false }, is_proxy };
        Poll::Ready(Ok(Accepted { stream, end, entry: self.entry.clone() }))
    }
}

// === impl Accepted ===

impl Accepted {
    /// Returns the stream of the first request, and where it comes from.
    pub(super) async fn enter(self) -> Result<(ByteStream, PeerEnd), EntryError> {
        let Self { stream, end, entry } = self;
        if let ByteStream::Tcp(stream) = &stream
            && let Err(e) = entry.prepare(stream)
        {
            tracing::debug!(error = %e, "a TCP option could not be set");
        }
        if !entry.proxy_protocol && entry.tls.is_none() {
            return Ok((stream, end));
        }
        // Boxed, because it is large and every connection would keep room for it.
        Box::pin(timeout(ENTRY_TIMEOUT, entry.pass(stream, end))).await.unwrap_or(Err(EntryError::Timeout))
    }
}

// === impl Entry ===

impl Entry {
    pub(super) fn refused(&self, error: &EntryError) {
        let is_of_proxy = matches!(error, EntryError::Stranger(_) | EntryError::ProxyHeader(_));
        if is_of_proxy && !self.warned.swap(true, Relaxed) {
            tracing::warn!(%error, "a connection was closed, because the listener has proxy_protocol = true; further ones are not logged");
        } else {
            tracing::debug!(%error, "a connection was closed before its first request");
        }
    }

    fn prepare(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        SockRef::from(stream).set_tcp_user_timeout(Some(self.write_timeout))
    }

    async fn pass(&self, mut stream: ByteStream, mut end: PeerEnd) -> Result<(ByteStream, PeerEnd), EntryError> {
        if self.proxy_protocol {
            if !end.is_proxy {
                return Err(EntryError::Stranger(end.client.address));
            }
            if let Some(client) = proxy_header::read(&mut stream).await? {
                end = PeerEnd { client, is_proxy: self.proxies.trust(client.address) };
            }
        }
        match (&self.tls, stream) {
            (Some(tls), ByteStream::Tcp(stream)) => {
                let stream = tls.acceptor().accept(stream).await.map_err(EntryError::Tls)?;
                end.client.secure = true;
                Ok((ByteStream::Tls(Box::new(stream)), end))
            }
            (_, stream) => Ok((stream, end)),
        }
    }
}
