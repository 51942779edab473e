//! `/v1/consumers`: lists, resets and deletes consumers.

use super::refusal::refuse;
use super::state::ApiState;
use crate::bus::{CursorError, Position};
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{delete, get, post};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) fn routes(state: ApiState) -> Router {
    Router::new()
        .route("/v1/consumers", get(list))
        .route("/v1/consumers/{name}", delete(remove))
        .route("/v1/consumers/{name}/reset", post(reset))
        .with_state(state)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reset {
    topic: String,
    to: To,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum To {
    Row(u64),
    End(End),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum End {
    Earliest,
    Latest,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Removal {
    topic: Option<String>,
}

async fn list(State(state): State<ApiState>) -> Response {
    let consumers = state.bus.consumers().into_iter().map(|(topic, c)| {
        json!({"name": c.name, "topic": topic, "position": c.position, "lag": c.lag, "required": c.required, "active": c.active})
    });
    Json(json!({ "consumers": consumers.collect::<Value>() })).into_response()
}

async fn reset(State(state): State<ApiState>, Path(name): Path<String>, body: Bytes) -> Response {
    let Reset { topic, to } = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(e) => {
            let expected = r#"expected a body such as {"topic": "messaging.push", "to": "earliest"}; `to` is "earliest", "latest" or a row number"#;
            return refuse(StatusCode::BAD_REQUEST, &format!("invalid body ({e}): {expected}"));
        }
    };
    let to = match to {
        To::Row(seq) => Position::Row(seq),
        To::End(End::Earliest) => Position::Earliest,
        To::End(End::Latest) => Position::Latest,
    };
    match state.bus.reset_consumer(&name, &topic, to).await {
        Ok(position) => Json(json!({ "name": name, "topic": topic, "position": position })).into_response(),
        Err(e) => refused(&e),
    }
}

async fn remove(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    query: Result<Query<Removal>, QueryRejection>,
) -> Response {
    let topic = match query {
        Ok(Query(Removal { topic })) => topic,
        Err(e) => return refuse(StatusCode::BAD_REQUEST, &e.body_text()),
    };
    match state.bus.delete_consumer(&name, topic.as_deref()).await {
        Ok(topics) => Json(json!({ "name": name, "deleted": topics })).into_response(),
        Err(e) => refused(&e),
    }
}

fn refused(error: &CursorError) -> Response {
    let status = match error {
        CursorError::Unknown { .. } => StatusCode::NOT_FOUND,
        CursorError::Active { .. } => StatusCode::CONFLICT,
        CursorError::NoSuchRow { .. } => StatusCode::BAD_REQUEST,
        CursorError::Io { .. } => StatusCode::SERVICE_UNAVAILABLE,
    };
    refuse(status, &error.to_string())
}
