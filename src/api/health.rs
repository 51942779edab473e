//! `/healthz`, `/readyz`, `/metrics`.

use super::Shared;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde_json::{Map, Value, json};

pub(super) fn routes(shared: Shared) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(|State(shared): State<Shared>| async move { shared.recorder.render() }))
        .with_state(shared)
}

async fn ready(State(shared): State<Shared>) -> Response {
    let parts = shared.health.parts();
    let ready = parts.iter().all(|(_, why)| why.is_none());
    let parts: Map<String, Value> =
        parts.into_iter().map(|(part, why)| (part, why.map_or_else(|| "ready".into(), Into::into))).collect();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": ready, "parts": parts }))).into_response()
}
