//! The admin listener: health, metrics, topics, and the plugins' own routes.

mod auth;
mod body;
mod consumers;
mod health;
pub(crate) mod metrics;
mod rows;
mod topics;

use crate::bus::EventBus;
use crate::config::{Admin, TokenFileError};
use crate::host::workers;
use auth::Gate;
use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Json, Response};
use body::Timely;
use greyhound_sdk::{Drain, Health, TopicSchema, descriptors};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{interval, sleep, timeout, timeout_at};
use tower::ServiceExt;

/// How long a caller may take for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a caller may take for the body of a request.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to wait where the system takes no connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often the metrics are looked after.
const UPKEEP: Duration = Duration::from_secs(5);

/// Each plugin's own routes.
type Plugins = Vec<(&'static str, Router)>;

/// The bound listener.
pub(crate) struct Listener {
    listener: TcpListener,
    gate: Gate,
}

/// The listener cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The file with the token cannot be used.
    #[error(transparent)]
    Token(#[from] TokenFileError),
    /// Its address cannot be had.
    #[error(
        "the admin listener cannot listen on {address}: {why}; set admin.listen (GREYHOUND__ADMIN__LISTEN) to an address that is free"
    )]
    Address {
        /// Where.
        address: SocketAddr,
        /// What happened.
        why: io::Error,
    },
}

/// What handlers share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) bus: Arc<EventBus>,
    pub(crate) health: Health,
    pub(crate) recorder: metrics::Recorder,
    /// Topics that the operator opens, beside those that their plugins declare open.
    pub(crate) open_topics: Arc<[String]>,
}

impl Shared {
    /// Whether programs may publish to a topic.
    fn is_open(&self, topic: &TopicSchema) -> bool {
        topic.is_open() || self.open_topics.iter().any(|name| name == topic.name())
    }
}

impl Listener {
    pub(crate) async fn bind(admin: &Admin) -> Result<Self, BindError> {
        let gate = Gate::new(admin.bearer()?, admin.allow_loopback);
        let listener =
            TcpListener::bind(admin.listen).await.map_err(|why| BindError::Address { address: admin.listen, why })?;
        Ok(Self { listener, gate })
    }

    pub(crate) fn address(&self) -> String {
        self.listener.local_addr().map_or_else(|_| "?".into(), |a| a.to_string())
    }

    /// Serves until drained; `plugins` has each plugin's own routes, which are served below `/v1/<name>/` on the
    /// `workers`. Requests that take longer than the deadline, such as a followed topic, are cut off.
    pub(crate) async fn serve(self, shared: Shared, plugins: Plugins, workers: Handle, mut drain: Drain) {
        let recorder = shared.recorder.clone();
        let served = Arc::new(Served::new(shared, plugins, self.gate, workers, drain.clone()));
        let most = usize::try_from(descriptors::for_admin()).unwrap_or(usize::MAX);
        let mut upkeep = interval(UPKEEP);
        let mut connections = JoinSet::new();
        let deadline = loop {
            tokio::select! {
                biased;
                at = drain.requested() => break at,
                _ = upkeep.tick() => recorder.upkeep(),
                Some(ended) = connections.join_next(), if !connections.is_empty() => tell_panic(ended),
                accepted = self.listener.accept(), if connections.len() < most => match accepted {
                    Ok((stream, peer)) => { connections.spawn(served.clone().connection(stream, peer)); }
                    Err(e) => {
                        tracing::warn!(error = %e, "the admin listener cannot accept");
                        sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        };
        drop(self.listener);
        let _ = timeout_at(deadline, async { while connections.join_next().await.is_some() {} }).await;
    }
}

/// A request that panics is a fault of the program; the others go on.
fn tell_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a request to the admin listener failed");
    }
}

/// What connections share.
struct Served {
    /// For connections that are served here.
    here: Router,
    /// For those that are served on the workers.
    there: Router,
    /// What the paths of plugins begin with.
    prefixes: Vec<String>,
    workers: Handle,
    drain: Drain,
}

impl Served {
    fn new(shared: Shared, plugins: Plugins, gate: Gate, workers: Handle, drain: Drain) -> Self {
        let prefixes = plugins.iter().map(|(name, _)| format!("/v1/{name}/")).collect();
        let moved = |(name, routes): &(_, Router)| {
            (*name, routes.clone().layer(from_fn_with_state(workers.clone(), on_workers)))
        };
        let here = routes(shared.clone(), plugins.iter().map(moved).collect(), gate.clone());
        Self { here, there: routes(shared, plugins, gate), prefixes, workers, drain }
    }

    /// Serves a connection: on the workers if its first request is for a plugin, which spares each of its requests the
    /// way between threads; else here, where no client can hold it.
    async fn connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let _ = stream.set_nodelay(true);
        if !self.is_for_plugin(&stream).await {
            return connection(stream, peer, self.here.clone(), self.drain.clone()).await;
        }
        let Ok(stream) = stream.into_std() else { return };
        let (router, drain) = (self.there.clone(), self.drain.clone());
        let moved = workers::on(&self.workers, async move {
            if let Ok(stream) = TcpStream::from_std(stream) {
                connection(stream, peer, router, drain).await;
            }
        });
        tell_panic(moved.await);
    }

    async fn is_for_plugin(&self, stream: &TcpStream) -> bool {
        let mut head = [0; 128];
        let read = timeout(HEAD_TIMEOUT, stream.peek(&mut head)).await;
        let Ok(Ok(length)) = read else { return false };
        let mut words = head[..length].split(|byte| *byte == b' ').skip(1);
        words.next().is_some_and(|path| self.prefixes.iter().any(|prefix| path.starts_with(prefix.as_bytes())))
    }
}

/// Handles a request on the workers.
async fn on_workers(State(workers): State<Handle>, request: Request, next: Next) -> Response {
    match workers::on(&workers, next.run(request)).await {
        Ok(response) => response,
        Err(error) => {
            tell_panic(Err(error));
            refuse(StatusCode::INTERNAL_SERVER_ERROR, "a fault of the program; its log says which")
        }
    }
}

/// Health and metrics for everybody; the rest for those whom the gate admits.
fn routes(shared: Shared, plugins: Plugins, gate: Gate) -> Router {
    let topics = topics::routes(shared.clone()).merge(consumers::routes(shared.clone()));
    let guarded =
        plugins.into_iter().fold(topics, |router, (name, routes)| router.nest(&format!("/v1/{name}"), routes));
    let guarded = guarded.layer(from_fn_with_state(gate, auth::check));
    health::routes(shared).merge(guarded).fallback(no_route).method_not_allowed_fallback(no_method)
}

async fn no_route(uri: Uri) -> Response {
    refuse(StatusCode::NOT_FOUND, &format!("nothing is served at {}; docs/operating.md lists what is", uri.path()))
}

async fn no_method(method: Method, uri: Uri) -> Response {
    refuse(
        StatusCode::METHOD_NOT_ALLOWED,
        &format!("{} does not take {method}; the header `allow` names what it takes", uri.path()),
    )
}

/// What a refused request is answered with.
fn refuse(status: StatusCode, error: &str) -> Response {
    (status, Json(json!({ "error": error }))).into_response()
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, mut drain: Drain) {
    let service = router.map_request(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.map(|body| axum::body::Body::new(Timely::new(body, BODY_TIMEOUT)))
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut connection = std::pin::pin!(connection);
    // What goes wrong with a connection is the caller's to notice.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = drain.requested() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
