//! Engine.io's transports: answers the requests to socket.io's path.
//!
//! The library sees every client as one WebSocket ([`Stream`]) from the beginning, regardless of its transport: polls,
//! POSTs and probes are handled here, so that the library reads only valid frames.

mod payload;
mod polling;
mod request;
mod sessions;
mod upgrade;

use super::handshake::Refusals;
use crate::connection::{
    Admission, ByteStream, Connection, DescriptorPermit, Polling, Protocol, Settings, Source, Stream, TooMany,
    UnauthenticatedLimit,
};
use crate::limits::{ConnectionLimits, Refusal};
use crate::namespace::Namespace;
use crate::proxies::ClientEnd;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header, request::Parts};
use bytes::Bytes;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use request::{Operation, RETRY_AFTER, Refused};
use sessions::Sessions;
use socketioxide::service::SocketIoService;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use tokio::sync::mpsc;
use tower::Service;

/// The library. It serves the streams of sessions.
type Library = SocketIoService<(), Namespace>;

/// Serves engine.io's transports. Cheap to clone.
#[derive(Clone)]
pub(super) struct Engine {
    library: Library,
    settings: Arc<Settings>,
    sessions: Arc<Sessions>,
    unauthenticated: Arc<UnauthenticatedLimit>,
    limits: Arc<ConnectionLimits>,
    /// Maximum length of a POST's body.
    max_payload: usize,
    /// Whether new sessions are refused.
    stopping: Arc<AtomicBool>,
}

/// Whom a request comes from, and its TCP connection.
#[derive(Clone)]
pub(super) struct Peer {
    pub(super) client: ClientEnd,
    /// Whether the connection is that of a trusted proxy, which reports its clients in the heads of requests.
    pub(super) is_proxy: bool,
    /// Number of unauthenticated clients whose sessions began on this connection.
    pub(super) unauthenticated: Arc<AtomicUsize>,
    /// The permit for the connection's descriptor. A WebSocket takes it over.
    pub(super) permit: DescriptorPermit,
}

impl Engine {
    pub(super) fn new(library: Library, settings: Arc<Settings>, limits: ConnectionLimits, max_payload: usize) -> Self {
        Self {
            library,
            settings,
            sessions: Arc::default(),
            unauthenticated: Arc::default(),
            limits: Arc::new(limits),
            max_payload,
            stopping: Arc::default(),
        }
    }

    /// From now on, refuses new sessions, and goes on with those that are open.
    pub(super) fn refuse_sessions(&self) {
        self.stopping.store(true, Relaxed);
    }

    /// Answers a request to socket.io's path.
    pub(super) async fn answer(self, request: Request<Body>, peer: Peer) -> Response<Body> {
        let answer = match Operation::read(&request) {
            Ok(Operation::Open(protocol)) => self.open(protocol, request, &peer).await,
            Ok(Operation::Poll(secret)) => self.poll(&secret).await,
            Ok(Operation::Post(secret)) => self.post(&secret, request).await,
            Ok(Operation::OpenWebSocket(protocol, accept)) => self.open_websocket(protocol, request, &peer, accept),
            Ok(Operation::Upgrade(secret, accept)) => self.upgrade(&secret, request, peer.permit, accept),
            Err(refused) => Err(refused),
        };
        answer.unwrap_or_else(Refused::response)
    }

    fn admit(&self, peer: &Peer) -> Result<Admission, Refused> {
        if self.stopping.load(Relaxed) {
            return Err(Refused::Stopping);
        }
        let address = peer.client.address;
        let place = self.limits.admit(address).map_err(|refusal| match refusal {
            Refusal::Node => Refused::Full,
            Refusal::Address => Refused::TooManyFromThere(RETRY_AFTER),
            Refusal::Rate(wait) => Refused::TooManyFromThere(wait),
        })?;
        let unauthenticated = self.unauthenticated.admit(address, &peer.unauthenticated);
        Ok(Admission { place, unauthenticated: unauthenticated.map_err(|TooMany| Refused::TooMany)? })
    }

    /// Begins a session with polling. Returns its connection, to which the library writes an open packet.
    fn begin_polling(&self, protocol: Protocol, head: Parts, peer: &Peer) -> Result<Arc<Connection>, Refused> {
        let client = self.admit(peer)?;
        let (posts, posted) = mpsc::channel(1);
        let connection = Connection::new(
            (peer.client, protocol),
            None,
            Some(Polling::new(posts)),
            Some(client),
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
        let client = self.admit(peer)?;
        let (engine, client_end, permit) = (self.clone(), peer.client, peer.permit.clone());
        let (mut head, _) = request.into_parts();
        let upgrade = on_upgrade(&mut head);
        tokio::spawn(async move {
            let Some((stream, read)) = upgraded(upgrade).await else { return };
            let (reads, writes) = stream.into_split();
            let connection = Arc::new(Connection::new(
                (client_end, protocol),
                Some(writes),
                None,
                Some(client),
                engine.settings.clone(),
            ));
            engine.begin(Source::Socket(reads), read, &connection, head, Some(permit));
        });
        Ok(switching(accept))
    }

    /// Passes a session to the library.
    fn begin(
        &self,
        source: Source,
        read: Bytes,
        connection: &Arc<Connection>,
        head: Parts,
        permit: Option<DescriptorPermit>,
    ) {
        let mut request = Request::new(());
        *request.uri_mut() = library_uri(&head, connection.protocol);
        *request.headers_mut() = own_headers(&head);
        request.extensions_mut().insert(connection.clone());
        request.extensions_mut().insert(Refusals::default());
        let session =
            Service::call(&mut self.library.clone(), (Stream::new(source, read, connection.clone(), permit), request));
        if session.into_inner().is_err() {
            tracing::error!("the socket.io library refused a valid handshake; this is a bug of Greyhound");
        }
    }

    fn upgrade(
        &self,
        secret: &str,
        request: Request<Body>,
        permit: DescriptorPermit,
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
                upgrade::upgrade(connection, stream, read, permit).await;
            }
        });
        Ok(switching(accept))
    }
}

fn on_upgrade(head: &mut Parts) -> Option<OnUpgrade> {
    head.extensions.remove::<OnUpgrade>()
}

/// The stream of a WebSocket, and the bytes already read from it.
async fn upgraded(upgrade: Option<OnUpgrade>) -> Option<(ByteStream, Bytes)> {
    let parts = upgrade?.await.ok()?.downcast::<TokioIo<ByteStream>>().ok()?;
    Some((parts.io.into_inner(), parts.read_buf))
}

/// The handshake's URI for the library: with exactly one `EIO`, and without an empty session id.
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

/// Copies of a handshake's headers. The headers are slices of the connection's read buffer; without copies each idle
/// session would keep 8 KiB.
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
