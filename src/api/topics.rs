//! `/v1/topics`: lists topics, reads their rows, publishes to them.

use super::refusal::refuse;
use super::rows;
use super::state::ApiState;
use crate::config::OWN_TOPICS;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use greyhound_sdk::{Batch, Consumer, ReadError, Refused, Shard, Start};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::io;
use std::time::Duration;
use tokio::time::timeout;

/// The size of one read.
const READ_BYTES: usize = 256 << 10;
/// Time limit for reading rows that exist. A hole at the end of a topic never returns rows.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) fn routes(state: ApiState) -> Router {
    Router::new()
        .route("/v1/topics", get(list))
        .route("/v1/topics/{topic}", get(schema).post(publish))
        .route("/v1/topics/{topic}/tail", get(tail))
        .with_state(state)
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct TailQuery {
    /// `latest`, `earliest`, or the number of a row.
    from: String,
    /// Maximum number of rows.
    limit: usize,
    /// Whether to wait for further rows.
    follow: bool,
}

impl Default for TailQuery {
    fn default() -> Self {
        Self { from: "latest".into(), limit: usize::MAX, follow: true }
    }
}

async fn list(State(state): State<ApiState>) -> Response {
    let schemas = state.bus.handle().topics();
    let status = state.bus.status().into_iter().map(|topic| {
        let schema = schemas.iter().find(|s| s.name() == topic.topic);
        let (doc, open) = schema.map_or(("", false), |s| (s.doc(), state.is_open(s)));
        let consumers: Vec<Value> =
            topic.consumers.iter().map(|c| json!({"name": c.name, "position": c.position, "lag": c.lag, "required": c.required})).collect();
        json!({"name": topic.topic, "doc": doc, "open": open, "earliest": topic.earliest, "end": topic.end, "bytes": topic.bytes, "consumers": consumers})
    });
    let topics = Value::Array(status.collect());
    let shard = state.bus.handle().shard().to_string();
    Json(json!({"shard": shard, "bytes": state.bus.log_bytes(), "topics": topics})).into_response()
}

async fn schema(State(state): State<ApiState>, Path(topic): Path<String>) -> Response {
    match state.bus.handle().publisher(&topic) {
        Ok(publisher) => {
            ([(header::CONTENT_TYPE, "application/json")], publisher.schema().avro().to_owned()).into_response()
        }
        Err(e) => refuse(StatusCode::NOT_FOUND, &e.to_string()),
    }
}

async fn publish(
    State(state): State<ApiState>,
    Path(topic): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(e) => return refuse(e.status(), &e.body_text()),
    };
    let publisher = match state.bus.handle().publisher(&topic) {
        Ok(publisher) => publisher,
        Err(e) => return refuse(StatusCode::NOT_FOUND, &e.to_string()),
    };
    if !state.is_open(publisher.schema()) {
        return refuse(StatusCode::FORBIDDEN, &closed(&topic));
    }
    let rows: Vec<Map<String, Value>> = match serde_json::from_slice(&body) {
        Ok(rows) => rows,
        Err(e) => return refuse(StatusCode::BAD_REQUEST, &format!("the body is not a list of rows: {e}")),
    };
    // All rows are published or none, so that the caller can correct a row and send the list again.
    let count = rows.len() as u64;
    let batch = match rows::batch(publisher.schema(), rows) {
        Ok(batch) => batch,
        Err(e) => {
            return refuse(StatusCode::BAD_REQUEST, &format!("a row does not fit the schema of topic {topic}: {e}"));
        }
    };
    let first = match publisher.offer_batch(batch) {
        Ok(first) => first,
        Err(e @ Refused::Schema { .. }) => return refuse(StatusCode::BAD_REQUEST, &e.to_string()),
        Err(e @ Refused::Shed { .. }) => return refuse(StatusCode::SERVICE_UNAVAILABLE, &e.to_string()),
    };
    let end = first + count;
    if end > first
        && let Err(lost) = publisher.durable(end - 1).await
    {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, &lost.to_string());
    }
    Json(json!({ "seq": (first..end).collect::<Vec<_>>() })).into_response()
}

/// Returns why a topic accepts no rows over HTTP, and the remedy.
fn closed(topic: &str) -> String {
    let why = format!("only its plugin may publish to {topic}: a row from another source would be a forgery");
    match topic.starts_with(OWN_TOPICS) {
        true => why,
        false => format!(
            "{why}; publish to a topic that its plugin declares open (`TopicSchema::open`), or add {topic} to `admin.open_topics`"
        ),
    }
}

async fn tail(
    State(state): State<ApiState>,
    Path(topic): Path<String>,
    query: Result<Query<TailQuery>, QueryRejection>,
) -> Response {
    let query = match query {
        Ok(Query(query)) => query,
        Err(e) => return refuse(StatusCode::BAD_REQUEST, &e.body_text()),
    };
    let from = match query.from.as_str() {
        "latest" => None,
        "earliest" => Some(0),
        number => match number.parse() {
            Ok(seq) => Some(seq),
            Err(_) => {
                return refuse(StatusCode::BAD_REQUEST, "`from`: expected `latest`, `earliest` or a row number");
            }
        },
    };
    let bus = state.bus.handle();
    let mut consumer = match bus.consumer("tail", &topic, Start::Latest).await {
        Ok(consumer) => consumer,
        Err(e) => return refuse(StatusCode::NOT_FOUND, &e.to_string()),
    };
    if let Some(seq) = from {
        consumer.seek(seq);
    }
    let end = (!query.follow).then(|| consumer.bounds().end);
    let tail = Tail { consumer, shard: bus.shard().clone(), left: query.limit, end };
    // A slow caller delays only its own stream.
    let lines = futures_util::stream::try_unfold(tail, Tail::lines);
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}

/// Streams a topic to a caller.
struct Tail {
    consumer: Consumer,
    shard: Shard,
    /// How many more rows to send.
    left: usize,
    /// The number after the last row to send; `None` to follow the topic.
    end: Option<u64>,
}

impl Tail {
    async fn lines(mut self) -> io::Result<Option<(String, Self)>> {
        if self.left == 0 {
            return Ok(None);
        }
        let batches = self.batches().await.map_err(io::Error::other)?;
        let mut text = String::new();
        for batch in &batches {
            let lines = rows::lines(self.consumer.schema(), &self.shard, batch, self.left).map_err(io::Error::other)?;
            self.left -= lines.len();
            text.extend(lines);
        }
        // Shows the caller's position in /v1/topics.
        self.consumer.commit(self.consumer.position()).await.map_err(io::Error::other)?;
        Ok((!batches.is_empty()).then_some((text, self)))
    }

    /// Returns the next rows, or none at the end.
    async fn batches(&mut self) -> Result<Vec<Batch>, ReadError> {
        let Some(end) = self.end else { return self.consumer.next(READ_BYTES).await };
        if self.consumer.position() >= end {
            return Ok(Vec::new());
        }
        timeout(READ_TIMEOUT, self.consumer.next(READ_BYTES)).await.unwrap_or(Ok(Vec::new()))
    }
}
