//! The admin listener: health, metrics, topics, and the plugins' own routes.

mod auth;
mod consumers;
mod health;
pub(crate) mod metrics;
mod rows;
mod topics;

use crate::bus::EventBus;
use crate::config::{Admin, TokenFileError};
use auth::Gate;
use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Json, Response};
use greyhound_sdk::{Drain, Health, TopicSchema};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout_at};
use tower::ServiceExt;

/// How long a caller may take for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to wait where the system takes no connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
    #[error("the admin listener cannot listen on {address}: {why}; set admin.listen (GREYHOUND__ADMIN__LISTEN) to an address that is free")]
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
        let listener = TcpListener::bind(admin.listen).await.map_err(|why| BindError::Address { address: admin.listen, why })?;
        Ok(Self { listener, gate })
    }

    pub(crate) fn address(&self) -> String {
        self.listener.local_addr().map_or_else(|_| "?".into(), |a| a.to_string())
    }

    /// Serves until drained; `plugins` has each plugin's own routes, which are served below `/v1/<name>/`.
    /// Requests that take longer than the deadline, such as a followed topic, are cut off.
    pub(crate) async fn serve(self, shared: Shared, plugins: Vec<(&'static str, Router)>, mut drain: Drain) {
        let router = routes(shared, plugins, self.gate);
        let mut connections = JoinSet::new();
        let deadline = loop {
            tokio::select! {
                biased;
                at = drain.requested() => break at,
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => { connections.spawn(connection(stream, peer, router.clone(), drain.clone())); }
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

/// Health and metrics for everybody; the rest for those whom the gate admits.
fn routes(shared: Shared, plugins: Vec<(&'static str, Router)>, gate: Gate) -> Router {
    let topics = topics::routes(shared.clone()).merge(consumers::routes(shared.clone()));
    let guarded = plugins.into_iter().fold(topics, |router, (name, routes)| router.nest(&format!("/v1/{name}"), routes));
    let guarded = guarded.layer(axum::middleware::from_fn_with_state(gate, auth::check));
    health::routes(shared).merge(guarded).fallback(no_route).method_not_allowed_fallback(no_method)
}

async fn no_route(uri: Uri) -> Response {
    refuse(StatusCode::NOT_FOUND, &format!("nothing is served at {}; the README tells what is", uri.path()))
}

async fn no_method(method: Method, uri: Uri) -> Response {
    refuse(StatusCode::METHOD_NOT_ALLOWED, &format!("{} does not take {method}; the header `allow` names what it takes", uri.path()))
}

/// What a refused request is answered with.
fn refuse(status: StatusCode, error: &str) -> Response {
    (status, Json(json!({ "error": error }))).into_response()
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, mut drain: Drain) {
    let _ = stream.set_nodelay(true);
    let service = router.map_request(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.map(axum::body::Body::new)
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
