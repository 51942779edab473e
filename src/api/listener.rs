//! Accepts connections and serves requests.

use super::auth::{self, Gate};
use super::body::TimeLimited;
use super::refusal::refuse;
use super::state::ApiState;
use super::{consumers, drain, health, topics};
use crate::config::{Admin, TokenFileError};
use crate::workers;
use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use greyhound_sdk::tls::{Tls, joined};
use greyhound_sdk::{Drain, descriptors};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{interval, sleep, timeout, timeout_at};
use tower::ServiceExt;

/// Time limit for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Time limit for the body of a request.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Delay before the next attempt after a failed accept.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);
/// How often the upkeep of the metrics runs.
const METRICS_UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The routes of each plugin, by name.
type PluginRoutes = Vec<(&'static str, Router)>;

/// The bound listener.
pub(crate) struct Listener {
    listener: TcpListener,
    gate: Gate,
    tls: Option<Arc<Tls>>,
}

/// The listener cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The token file cannot be used.
    #[error(transparent)]
    Token(#[from] TokenFileError),
    /// The files of TLS cannot be used.
    #[error("admin.tls: {0}")]
    Tls(String),
    /// The address cannot be bound.
    #[error(
        "the admin listener cannot listen on {address}: {why}; set admin.listen (GREYHOUND__ADMIN__LISTEN) to a free address"
    )]
    Address {
        /// The address.
        address: SocketAddr,
        /// The cause.
        why: io::Error,
    },
}

impl Listener {
    pub(crate) async fn bind(admin: &Admin) -> Result<Self, BindError> {
        let gate = Gate::new(admin.bearer()?, admin.allow_loopback, admin.tls.client_ca.is_some());
        let tls = admin.tls.files().map(Tls::load).transpose().map_err(|errors| BindError::Tls(joined(&errors)))?;
        let listener =
            TcpListener::bind(admin.listen).await.map_err(|why| BindError::Address { address: admin.listen, why })?;
        Ok(Self { listener, gate, tls: tls.map(Arc::new) })
    }

    /// The URL for operators and backends.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        self.listener.local_addr().map_or_else(|_| "?".into(), |address| format!("{scheme}://{address}"))
    }

    /// Serves until drained. The routes of each plugin are served below `/v1/<name>/` on the `workers`. Requests that
    /// are not complete at the deadline, such as a followed topic, are cut off.
    pub(crate) async fn serve(self, state: ApiState, plugins: PluginRoutes, workers: Handle, mut drain: Drain) {
        let recorder = state.recorder.clone();
        // A dropped set aborts its task.
        let _reload: JoinSet<()> = self.tls.iter().cloned().map(Tls::reload).collect();
        let server = Arc::new(Server::new(state, plugins, (self.gate, self.tls), workers, drain.clone()));
        let connections_max = usize::try_from(descriptors::for_admin()).unwrap_or(usize::MAX);
        let mut upkeep = interval(METRICS_UPKEEP_INTERVAL);
        let mut connections = JoinSet::new();
        let deadline = loop {
            tokio::select! {
                biased;
                at = drain.requested() => break at,
                _ = upkeep.tick() => recorder.upkeep(),
                Some(ended) = connections.join_next(), if !connections.is_empty() => log_panic(ended),
                accepted = self.listener.accept(), if connections.len() < connections_max => match accepted {
                    Ok((stream, peer)) => { connections.spawn(server.clone().connection(stream, peer)); }
                    Err(e) => {
                        tracing::warn!(error = %e, "the admin listener cannot accept a connection");
                        sleep(ACCEPT_RETRY_DELAY).await;
                    }
                }
            }
        };
        drop(self.listener);
        let _ = timeout_at(deadline, async { while connections.join_next().await.is_some() {} }).await;
    }
}

/// Logs the panic of a request. Other requests are not affected.
fn log_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a request to the admin listener panicked");
    }
}

/// The state that all connections share.
struct Server {
    /// Serves connections on the host's runtime.
    host_router: Router,
    /// Serves connections on the workers.
    worker_router: Router,
    /// The path prefixes of the plugins.
    prefixes: Vec<String>,
    workers: Handle,
    drain: Drain,
    tls: Option<Arc<Tls>>,
}

impl Server {
    fn new(
        state: ApiState,
        plugins: PluginRoutes,
        (gate, tls): (Gate, Option<Arc<Tls>>),
        workers: Handle,
        drain: Drain,
    ) -> Self {
        let prefixes = plugins.iter().map(|(name, _)| format!("/v1/{name}/")).collect();
        let moved = |(name, routes): &(_, Router)| {
            (*name, routes.clone().layer(from_fn_with_state(workers.clone(), on_workers)))
        };
        let host_router = routes(state.clone(), plugins.iter().map(moved).collect(), gate.clone());
        Self { host_router, worker_router: routes(state, plugins, gate), prefixes, workers, drain, tls }
    }

    /// Serves a connection on the workers if its first request is for a plugin, so that its requests do not change
    /// threads. Otherwise serves it on the host's runtime, where a blocked plugin does not delay it, and which calls
    /// the workers for a plugin's request. Over TLS, the first request is not seen in time.
    async fn connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let _ = stream.set_nodelay(true);
        if let Some(tls) = &self.tls {
            let Ok(Ok(stream)) = timeout(HEAD_TIMEOUT, tls.acceptor().accept(stream)).await else { return };
            return connection(stream, peer, self.host_router.clone(), self.drain.clone()).await;
        }
        if !self.is_for_plugin(&stream).await {
            return connection(stream, peer, self.host_router.clone(), self.drain.clone()).await;
        }
        let Ok(stream) = stream.into_std() else { return };
        let (router, drain) = (self.worker_router.clone(), self.drain.clone());
        let moved = workers::on(&self.workers, async move {
            if let Ok(stream) = TcpStream::from_std(stream) {
                connection(stream, peer, router, drain).await;
            }
        });
        log_panic(moved.await);
    }

    async fn is_for_plugin(&self, stream: &TcpStream) -> bool {
        let mut head = [0; 128];
        let read = timeout(HEAD_TIMEOUT, stream.peek(&mut head)).await;
        let Ok(Ok(length)) = read else { return false };
        let mut words = head[..length].split(|byte| *byte == b' ').skip(1);
        words.next().is_some_and(|path| self.prefixes.iter().any(|prefix| path.starts_with(prefix.as_bytes())))
    }
}

/// Handles a plugin's request on the workers.
async fn on_workers(State(workers): State<Handle>, request: Request, next: Next) -> Response {
    match workers::on(&workers, next.run(request)).await {
        Ok(response) => response,
        Err(error) => {
            log_panic(Err(error));
            refuse(StatusCode::INTERNAL_SERVER_ERROR, "internal error; see the log of the program")
        }
    }
}

/// Returns the routes. Health and metrics are open to all callers, the rest to those that the gate admits.
fn routes(state: ApiState, plugins: PluginRoutes, gate: Gate) -> Router {
    let topics = topics::routes(state.clone()).merge(consumers::routes(state.clone()));
    let own = topics.merge(drain::routes(state.clone()));
    let guarded = plugins.into_iter().fold(own, |router, (name, routes)| router.nest(&format!("/v1/{name}"), routes));
    let guarded = guarded.layer(from_fn_with_state(gate, auth::check));
    health::routes(state).merge(guarded).fallback(no_route).method_not_allowed_fallback(no_method)
}

async fn no_route(uri: Uri) -> Response {
    refuse(StatusCode::NOT_FOUND, &format!("there is nothing at {}; docs/operating.md lists the routes", uri.path()))
}

async fn no_method(method: Method, uri: Uri) -> Response {
    refuse(
        StatusCode::METHOD_NOT_ALLOWED,
        &format!("{} does not accept {method}; the header `allow` lists the accepted methods", uri.path()),
    )
}

async fn connection<S>(stream: S, peer: SocketAddr, router: Router, mut drain: Drain)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = router.map_request(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.map(|body| axum::body::Body::new(TimeLimited::new(body, BODY_TIMEOUT)))
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut connection = std::pin::pin!(connection);
    // Errors of a connection are not logged: the caller notices them.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = drain.requested() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
