//! `/v1/drain`: stops the program.

use super::state::ApiState;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::post;
use serde_json::json;

pub(super) fn routes(state: ApiState) -> Router {
    Router::new().route("/v1/drain", post(drain)).with_state(state)
}

async fn drain(State(state): State<ApiState>) -> Response {
    tracing::info!("stopping, because of POST /v1/drain");
    // Kept until it is waited for, so that no request is lost.
    state.shutdown.notify_one();
    (StatusCode::ACCEPTED, Json(json!({ "draining": true }))).into_response()
}
