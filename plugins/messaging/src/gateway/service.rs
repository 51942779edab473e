//! HTTP in front of socket.io: what is answered before it, beside it and by it.

use super::handshake::{Refusals, query};
use super::link::Link;
use super::links::Links;
use super::mend::mend;
use crate::auth::Origins;
use crate::config::Config;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use axum::{Router, http};
use socketioxide::SocketIo;
use socketioxide::service::SocketIoService;
use socketioxide::socket::Sid;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use tower::{Layer, Service};
use tower_http::cors::{AllowOrigin, Cors, CorsLayer};

use crate::fanout::{Fanout, Namespaces};

/// What the library serves is below this.
const LIBRARY_PATH: &str = "/socket.io";
const BUNDLE_PATH: &str = "/socket.io/socket.io.js";

/// What serves one request.
pub(crate) type Serve = Cors<SocketIoService<Router, Fanout>>;

/// What a connection needs to be served.
#[derive(Clone)]
pub(crate) struct Parts {
    serve: Serve,
    links: Arc<Links>,
    origins: Origins,
    bundle: Option<Arc<PathBuf>>,
}

/// The service, and the handle on its namespaces. `beside` serves what is not socket.io's.
pub(crate) fn service(config: &Config, namespaces: Namespaces, links: Arc<Links>, beside: Router) -> (Parts, SocketIo<Fanout>) {
    let payload = config.max_payload.as_u64();
    let frame = usize::try_from(payload).unwrap_or(usize::MAX);
    let (service, io) = SocketIo::builder()
        .ping_interval(config.ping_interval)
        .ping_timeout(config.ping_timeout)
        .max_payload(payload)
        .ws_max_message_size(frame)
        .ws_max_frame_size(frame)
        .max_buffer_size(config.buffer)
        // Clients send little: what is read at a time stays in memory for each of them.
        .ws_read_buffer_size(256)
        .with_adapter::<Fanout>(namespaces)
        .build_with_inner_svc(beside);
    let bundle = config.client_bundle.clone().map(Arc::new);
    let origins = Origins::new(&config.allowed_origins);
    (Parts { serve: cors(&origins).layer(service), links, origins, bundle }, io)
}

fn cors(origins: &Origins) -> CorsLayer {
    let origins = origins.clone();
    let allowed = AllowOrigin::predicate(move |origin, _| origins.admit(Some(origin)));
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_credentials(true)
        .allow_methods([http::Method::GET, http::Method::POST])
        .allow_headers(tower_http::cors::AllowHeaders::mirror_request())
}

impl Parts {
    pub(super) fn links(&self) -> &Arc<Links> {
        &self.links
    }

    /// Answers a request that came over `link`.
    pub(super) async fn answer<B>(mut self, mut request: Request<B>, link: Arc<Link>) -> Result<Response<Body>, Infallible>
    where
        B: http_body::Body<Data = bytes::Bytes> + Send + Unpin + 'static,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        if request.uri().path() == BUNDLE_PATH {
            return Ok(self.bundle().await);
        }
        // Also where CORS does not hold: a WebSocket.
        if !self.origins.admit(request.headers().get(header::ORIGIN)) {
            return Ok(text(
                StatusCode::FORBIDDEN,
                "this origin may not connect: plugins.messaging.allowed_origins names those that may\n",
            ));
        }
        let upgrades = upgraded_session(&request);
        unshare(&mut request);
        if request.uri().path().starts_with(LIBRARY_PATH) {
            request.extensions_mut().insert(link.clone());
            request.extensions_mut().insert(Refusals::default());
        } else {
            request.extensions_mut().insert(ConnectInfo(link.peer));
        }
        let response = self.serve.call(request.map(Body::new)).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            link.switch();
            if let Some(sid) = upgrades {
                self.links.upgrade(sid, &link);
            }
        }
        Ok(mend(response.map(Body::new)).await)
    }

    async fn bundle(&self) -> Response<Body> {
        let Some(path) = &self.bundle else {
            return text(
                StatusCode::NOT_FOUND,
                "no client bundle is configured: set plugins.messaging.client_bundle to socket.io.min.js\n",
            );
        };
        match tokio::fs::read(path.as_ref()).await {
            Ok(script) => {
                let mut response = Response::new(script.into());
                response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=utf-8"));
                response
            }
            Err(e) => {
                tracing::warn!(path = %path.display(), error = %e, "the client bundle cannot be read");
                text(StatusCode::NOT_FOUND, "the client bundle cannot be read; the server's log says why\n")
            }
        }
    }
}

/// The polling session that is to go on over a WebSocket.
fn upgraded_session<B>(request: &Request<B>) -> Option<Sid> {
    let uri = request.uri();
    let websocket = query(uri, "transport").as_deref() == Some("websocket");
    query(uri, "sid").filter(|_| websocket)?.parse().ok()
}

/// A session keeps the head of its handshake, whose parts are slices of the connection's read buffer: without copies
/// of their own, each idle client would hold on to 8 KiB.
fn unshare<B>(request: &mut Request<B>) {
    if query(request.uri(), "sid").is_some() {
        return;
    }
    if let Ok(uri) = request.uri().to_string().parse() {
        *request.uri_mut() = uri;
    }
    for value in request.headers_mut().values_mut() {
        if let Ok(copy) = HeaderValue::from_bytes(value.as_bytes()) {
            *value = copy;
        }
    }
}

fn text(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
}
