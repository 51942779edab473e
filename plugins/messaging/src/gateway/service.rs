//! The HTTP service: socket.io, the client bundle and other routes.

use super::engine::{Engine, Peer};
use crate::auth::Origins;
use crate::config::Config;
use crate::connection::Settings;
use crate::limits::{ConnectionLimits, QueueMemory};
use crate::namespace::{Namespace, Namespaces};
use crate::proxies::Proxies;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use axum::{Router, http};
use socketioxide::{ParserConfig, SocketIo};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// The name of the client bundle below socket.io's path.
const BUNDLE: &str = "/socket.io.js";

/// Answers HTTP requests. Cheap to clone.
#[derive(Clone)]
pub(crate) struct HttpService {
    engine: Engine,
    cors: CorsLayer,
    other_routes: Router,
    origins: Origins,
    proxies: Proxies,
    bundle: Option<Arc<PathBuf>>,
    /// The path of socket.io.
    path: Arc<str>,
}

/// The service, and the handle of its namespaces. `other_routes` serves all paths except socket.io's.
pub(crate) fn service(
    config: &Config,
    proxies: Proxies,
    namespaces: Namespaces,
    queue_memory: Arc<QueueMemory>,
    other_routes: Router,
) -> (HttpService, SocketIo<Namespace>) {
    let payload = config.max_payload.as_u64();
    let frame = usize::try_from(payload).unwrap_or(usize::MAX);
    let (library, io) = SocketIo::builder()
        .ping_interval(config.ping_interval)
        .ping_timeout(config.ping_timeout)
        // A client that joins no namespace is disconnected as early as one that does not authenticate.
        .connect_timeout(config.auth.timeout)
        .max_payload(payload)
        .with_parser(ParserConfig::common().max_incoming_binary_buf_size(frame))
        .ws_max_message_size(frame)
        .ws_max_frame_size(frame)
        .max_buffer_size(config.buffer)
        // Small, because clients send little and each keeps its buffer.
        .ws_read_buffer_size(256)
        .with_adapter::<Namespace>(namespaces)
        .build_with_inner_svc(());
    let bundle = config.client_bundle.clone().map(Arc::new);
    let origins = Origins::new(&config.allowed_origins);
    let settings = Arc::new(Settings::new(config, queue_memory));
    let engine = Engine::new(library, settings, ConnectionLimits::new(&config.limits), frame);
    let path = config.socket_io_path().into();
    (HttpService { engine, cors: cors(&origins), other_routes, origins, proxies, bundle, path }, io)
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

impl HttpService {
    /// From now on, refuses new sessions, and goes on with those that are open.
    pub(super) fn refuse_sessions(&self) {
        self.engine.refuse_sessions();
    }

    /// Answers a request of `peer`, or of a client behind it.
    pub(super) async fn answer<B>(self, request: Request<B>, mut peer: Peer) -> Result<Response<Body>, Infallible>
    where
        B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let below = below(&self.path, request.uri().path());
        if below == Some(BUNDLE) {
            return Ok(self.bundle().await);
        }
        // CORS does not apply to WebSockets.
        if !self.origins.admit(request.headers().get(header::ORIGIN)) {
            return Ok(text(
                StatusCode::FORBIDDEN,
                "this origin is not allowed: add it to plugins.messaging.allowed_origins\n",
            ));
        }
        if peer.is_proxy {
            peer.client = self.proxies.client(peer.client, request.headers());
        }
        let is_socket_io = below.is_some();
        let mut request = request.map(Body::new);
        if is_socket_io {
            let engine = self.engine;
            let answer = service_fn(move |request| {
                let answer = engine.clone().answer(request, peer.clone());
                async move { Ok::<_, Infallible>(answer.await) }
            });
            return self.cors.layer(answer).call(request).await;
        }
        request.extensions_mut().insert(ConnectInfo(SocketAddr::new(peer.client.address, 0)));
        self.other_routes.oneshot(request).await
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
                response
                    .headers_mut()
                    .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=utf-8"));
                response
            }
            Err(e) => {
                tracing::warn!(path = %path.display(), error = %e, "the client bundle cannot be read");
                text(StatusCode::NOT_FOUND, "the client bundle cannot be read; see the server's log\n")
            }
        }
    }
}

/// The rest of `path` if it is `base` or below it.
fn below<'a>(base: &str, path: &'a str) -> Option<&'a str> {
    path.strip_prefix(base).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn text(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
}
