//! Engine.io's transports: what the requests to socket.io's path do.
//!
//! To the library every client is one WebSocket ([`Stream`]) from the beginning, whatever its transport: what a client
//! polls, posts and probes is dealt with here, so that the library reads nothing but sound frames.

mod payload;
mod polling;
mod request;
mod sessions;
mod upgrade;

use super::handshake::Refusals;
use crate::connection::{Admission, Connection, Polling, Protocol, Settings, Slot, Source, Stream, TooMany, Unproven};
use crate::namespace::Namespace;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header, request::Parts};
use bytes::Bytes;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use request::{Ask, Refused};
use sessions::Sessions;
use socketioxide::service::SocketIoService;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tower::Service;

/// The library: it takes the streams of sessions.
pub(super) type Library = SocketIoService<(), Namespace>;

/// Serves engine.io's transports. Cheap to clone.
#[derive(Clone)]
pub(super) struct Engine {
    library: Library,
    settings: Arc<Settings>,
    sessions: Arc<Sessions>,
    admission: Arc<Admission>,
    /// The longest body of a POST.
    max_payload: usize,
}

/// The TCP connection that a request came over.
#[derive(Clone)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    /// Clients that began over it and have not authenticated.
    pub(super) unproven: Arc<AtomicUsize>,
    /// Of the connection, which a WebSocket takes over.
    pub(super) slot: Slot,
}

impl Engine {
    pub(super) fn new(library: Library, settings: Arc<Settings>, max_payload: usize) -> Self {
        Self { library, settings, sessions: Arc::default(), admission: Arc::default(), max_payload }
    }

    /// Answers a request to socket.io's path.
    pub(super) async fn answer(self, request: Request<Body>, peer: Peer) -> Response<Body> {
        let answer = match Ask::read(&request) {
            Ok(Ask::Open(protocol)) => self.open(protocol, request, &peer).await,
            Ok(Ask::Poll(secret)) => self.poll(&secret).await,
            Ok(Ask::Post(secret)) => self.post(&secret, request).await,
            Ok(Ask::OpenWebSocket(protocol, accept)) => self.open_websocket(protocol, request, &peer, accept),
            Ok(Ask::Upgrade(secret, accept)) => self.upgrade(&secret, request, peer.slot, accept),
            Err(refused) => Err(refused),
        };
        answer.unwrap_or_else(Refused::response)
    }

    fn admit(&self, peer: &Peer) -> Result<Unproven, Refused> {
        self.admission.admit(peer.address.ip(), &peer.unproven).map_err(|TooMany| Refused::TooMany)
    }

    /// A session that begins with polling: its connection, which the library writes an open packet to.
    fn begin_polling(&self, protocol: Protocol, head: Parts, peer: &Peer) -> Result<Arc<Connection>, Refused> {
        let unproven = self.admit(peer)?;
        let (posts, posted) = mpsc::channel(1);
        let connection = Connection::new(
            (peer.address, protocol),
            None,
            Some(Polling::new(posts)),
            Some(unproven),
            self.settings.clone(),
        );
        let connection = Arc::new(connection);
        self.begin(Source::Posts(posted), Bytes::new(), &connection, head, None);
        Ok(connection)
    }

    fn open_websocket(
        &self,
        protocol: Protocol,
        request: Request<Body>,
        peer: &Peer,
        accept: HeaderValue,
    ) -> Result<Response<Body>, Refused> {
        let unproven = self.admit(peer)?;
        let (engine, address, slot) = (self.clone(), peer.address, peer.slot.clone());
        let (mut head, _) = request.into_parts();
        let upgrade = on_upgrade(&mut head);
        tokio::spawn(async move {
            let Some((stream, read)) = upgraded(upgrade).await else { return };
            let (reads, writes) = stream.into_split();
            let connection = Arc::new(Connection::new(
                (address, protocol),
                Some(writes),
                None,
                Some(unproven),
                engine.settings.clone(),
            ));
            engine.begin(Source::Socket(reads), read, &connection, head, Some(slot));
        });
        Ok(switching(accept))
    }

    /// Hands a session to the library.
    fn begin(&self, source: Source, read: Bytes, connection: &Arc<Connection>, head: Parts, slot: Option<Slot>) {
        let mut request = Request::new(());
        *request.uri_mut() = library_uri(&head, connection.protocol);
        *request.headers_mut() = own_headers(&head);
        request.extensions_mut().insert(connection.clone());
        request.extensions_mut().insert(Refusals::default());
        let session =
            Service::call(&mut self.library.clone(), (Stream::new(source, read, connection.clone(), slot), request));
        if session.into_inner().is_err() {
            tracing::error!("the socket.io library refuses a handshake that is sound; this is a bug of Greyhound");
        }
    }

    fn upgrade(
        &self,
        secret: &str,
        request: Request<Body>,
        slot: Slot,
        accept: HeaderValue,
    ) -> Result<Response<Body>, Refused> {
        let connection = self.sessions.get(secret).ok_or(Refused::UnknownSession)?;
        if !connection.is_polling() {
            return Err(Refused::Other("the session has a WebSocket already"));
        }
        let (mut head, _) = request.into_parts();
        let upgrade = on_upgrade(&mut head);
        tokio::spawn(async move {
            if let Some((stream, read)) = upgraded(upgrade).await {
                upgrade::upgrade(connection, stream, read, slot).await;
            }
        });
        Ok(switching(accept))
    }
}

fn on_upgrade(head: &mut Parts) -> Option<OnUpgrade> {
    head.extensions.remove::<OnUpgrade>()
}

/// The TCP connection below a WebSocket, and what was read from it already.
async fn upgraded(upgrade: Option<OnUpgrade>) -> Option<(TcpStream, Bytes)> {
    let parts = upgrade?.await.ok()?.downcast::<TokioIo<TcpStream>>().ok()?;
    Some((parts.io.into_inner(), parts.read_buf))
}

/// The handshake's URI as the library can read it: with the protocol's number, once, and without an empty session id.
fn library_uri(head: &Parts, protocol: Protocol) -> axum::http::Uri {
    let kept = head
        .uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.starts_with("EIO=") && !pair.starts_with("sid="));
    let query: Vec<&str> = kept.filter(|pair| !pair.is_empty()).collect();
    let uri = format!("{}?EIO={}&{}", head.uri.path(), protocol.number(), query.join("&"));
    uri.parse().expect("parts of a URI")
}

/// A session keeps the head of its handshake, whose parts are slices of the connection's read buffer: without copies
/// of their own, each idle client would hold on to 8 KiB.
fn own_headers(head: &Parts) -> HeaderMap {
    let mut own = HeaderMap::with_capacity(head.headers.len());
    for (name, value) in &head.headers {
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_str().as_bytes()), HeaderValue::from_bytes(value.as_bytes()))
        {
            own.append(name, value);
        }
    }
    own
}

fn switching(accept: HeaderValue) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    response
}
