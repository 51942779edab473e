//! `/healthz`, `/readyz`, `/metrics`.

use super::state::ApiState;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde_json::{Map, Value, json};

pub(super) fn routes(state: ApiState) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(|State(state): State<ApiState>| async move { state.recorder.render() }))
        .with_state(state)
}

async fn ready(State(state): State<ApiState>) -> Response {
    let parts = state.health.parts();
    let ready = parts.iter().all(|(_, why)| why.is_none());
    let mut parts: Map<String, Value> =
        parts.into_iter().map(|(part, why)| (part, why.map_or_else(|| "ready".into(), Into::into))).collect();
    parts.extend(
        state.health.degraded_parts().into_iter().map(|(part, why)| (part, format!("ready, but {why}").into())),
    );
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": ready, "parts": parts }))).into_response()
}
