//! `POST /v1/messaging/emit`.

use crate::emit::{EmitError, Emitter, Message};
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::post;
use greyhound_sdk::Shard;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

/// A message may name so many rooms; one for more people is better published to a room that they share.
const MAX_ROOMS: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    #[serde(default)]
    rooms: Vec<String>,
    #[serde(default)]
    except: Vec<String>,
    event: String,
    #[serde(default)]
    args: Vec<Box<RawValue>>,
    #[serde(default = "root")]
    namespace: String,
    #[serde(default = "yes")]
    durable: bool,
}

fn root() -> String {
    "/".into()
}

fn yes() -> bool {
    true
}

#[derive(Clone)]
struct Publishing {
    emitter: Emitter,
    shard: Shard,
}

/// The route `/emit`, for bodies up to `max_payload` bytes.
pub(crate) fn routes(emitter: Emitter, shard: Shard, max_payload: usize) -> Router {
    Router::new().route("/emit", post(emit)).layer(DefaultBodyLimit::max(max_payload)).with_state(Publishing { emitter, shard })
}

async fn emit(State(publishing): State<Publishing>, body: Result<Bytes, BytesRejection>) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(e) => return refuse(e.status(), &format!("{}; a message may be as long as plugins.messaging.max_payload", e.body_text())),
    };
    let request: Request = match serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_slice(&body)) {
        Ok(request) => request,
        Err(e) => return refuse(StatusCode::BAD_REQUEST, &format!("the body is not a message: `{}`: {}", e.path(), e.inner())),
    };
    for (field, rooms) in [("rooms", &request.rooms), ("except", &request.except)] {
        if rooms.len() > MAX_ROOMS {
            return refuse(StatusCode::BAD_REQUEST, &format!("`{field}` names {} rooms: expected at most {MAX_ROOMS}", rooms.len()));
        }
    }
    publish(&publishing, &request).await
}

async fn publish(Publishing { emitter, shard }: &Publishing, request: &Request) -> Response {
    let Request { rooms, except, event, args, namespace, durable } = request;
    let message = Message { namespace, rooms, except, event, args, source: "http", publisher: None };
    let receipt = match emitter.emit(&message) {
        Ok(receipt) => receipt,
        Err(e @ EmitError::Reserved(_)) => return refuse(StatusCode::BAD_REQUEST, &format!("`event`: {e}")),
        Err(e @ EmitError::UnknownNamespace(_)) => return refuse(StatusCode::NOT_FOUND, &format!("`namespace`: {e}")),
        Err(e @ EmitError::NotRunning) => return refuse(StatusCode::SERVICE_UNAVAILABLE, &e.to_string()),
    };
    if *durable && let Err(lost) = emitter.durable(receipt).await {
        let error = format!("it was sent to {} sockets but not recorded: {lost}", receipt.recipients);
        return refuse(StatusCode::SERVICE_UNAVAILABLE, &error);
    }
    Json(json!({"message": emitter.id(shard, receipt), "seq": receipt.seq, "recipients": receipt.recipients})).into_response()
}

fn refuse(status: StatusCode, error: &str) -> Response {
    (status, Json(json!({ "error": error }))).into_response()
}
