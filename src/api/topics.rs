//! `/v1/topics`: what there is, what is in it, and publishing to it.

use super::{Shared, refuse, rows};
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

/// How much is read at a time.
const READ_BYTES: usize = 256 << 10;
/// How long to look for rows that are said to be there.
const END_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) fn routes(shared: Shared) -> Router {
    Router::new()
        .route("/v1/topics", get(list))
        .route("/v1/topics/{topic}", get(schema).post(publish))
        .route("/v1/topics/{topic}/tail", get(tail))
        .with_state(shared)
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct TailQuery {
    /// `latest`, `earliest`, or the number of a row.
    from: String,
    /// At most so many rows.
    limit: usize,
    /// Whether to wait for more.
    follow: bool,
}

impl Default for TailQuery {
    fn default() -> Self {
        Self { from: "latest".into(), limit: usize::MAX, follow: true }
    }
}

async fn list(State(shared): State<Shared>) -> Response {
    let schemas = shared.bus.handle().topics();
    let status = shared.bus.status().into_iter().map(|topic| {
        let schema = schemas.iter().find(|s| s.name() == topic.topic);
        let (doc, open) = schema.map_or(("", false), |s| (s.doc(), shared.is_open(s)));
        let consumers: Vec<Value> =
            topic.consumers.iter().map(|c| json!({"name": c.name, "position": c.position, "lag": c.lag, "required": c.required})).collect();
        json!({"name": topic.topic, "doc": doc, "open": open, "earliest": topic.earliest, "end": topic.end, "bytes": topic.bytes, "consumers": consumers})
    });
    let topics = Value::Array(status.collect());
    let shard = shared.bus.handle().shard().to_string();
    Json(json!({"shard": shard, "bytes": shared.bus.log_bytes(), "topics": topics})).into_response()
}

async fn schema(State(shared): State<Shared>, Path(topic): Path<String>) -> Response {
    match shared.bus.handle().publisher(&topic) {
        Ok(publisher) => {
            ([(header::CONTENT_TYPE, "application/json")], publisher.schema().avro().to_owned()).into_response()
        }
        Err(e) => refuse(StatusCode::NOT_FOUND, &e.to_string()),
    }
}

async fn publish(
    State(shared): State<Shared>,
    Path(topic): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(e) => return refuse(e.status(), &e.body_text()),
    };
    let publisher = match shared.bus.handle().publisher(&topic) {
        Ok(publisher) => publisher,
        Err(e) => return refuse(StatusCode::NOT_FOUND, &e.to_string()),
    };
    if !shared.is_open(publisher.schema()) {
        return refuse(StatusCode::FORBIDDEN, &closed(&topic));
    }
    let rows: Vec<Map<String, Value>> = match serde_json::from_slice(&body) {
        Ok(rows) => rows,
        Err(e) => return refuse(StatusCode::BAD_REQUEST, &format!("the body is not a list of rows: {e}")),
    };
    // All of them or none: whoever mends a row sends the list again.
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

/// Why a topic takes no rows over HTTP, and what to do.
fn closed(topic: &str) -> String {
    let why = format!("only its plugin publishes to {topic}: a row of anybody else would be a forgery");
    match topic.starts_with(OWN_TOPICS) {
        true => why,
        false => format!(
            "{why}; publish to a topic of your own, which its plugin declares open (`TopicSchema::open`), or add {topic} to `admin.open_topics`"
        ),
    }
}

async fn tail(
    State(shared): State<Shared>,
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
                return refuse(StatusCode::BAD_REQUEST, "`from`: expected `latest`, `earliest` or the number of a row");
            }
        },
    };
    let bus = shared.bus.handle();
    let mut consumer = match bus.consumer("tail", &topic, Start::Latest).await {
        Ok(consumer) => consumer,
        Err(e) => return refuse(StatusCode::NOT_FOUND, &e.to_string()),
    };
    if let Some(seq) = from {
        consumer.seek(seq);
    }
    let end = (!query.follow).then(|| consumer.bounds().end);
    let state = Tail { consumer, shard: bus.shard().clone(), left: query.limit, end };
    // A caller that does not read holds back only its own stream.
    let lines = futures_util::stream::try_unfold(state, Tail::lines);
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}

/// A topic on its way to a caller.
struct Tail {
    consumer: Consumer,
    shard: Shard,
    /// How many rows the caller still wants.
    left: usize,
    /// Where it ends; none where it follows.
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
        // So that /v1/topics shows how far this caller is.
        self.consumer.commit(self.consumer.position()).await.map_err(io::Error::other)?;
        Ok((!batches.is_empty()).then_some((text, self)))
    }

    /// The next rows; none at the end.
    async fn batches(&mut self) -> Result<Vec<Batch>, ReadError> {
        let Some(end) = self.end else { return self.consumer.next(READ_BYTES).await };
        if self.consumer.position() >= end {
            return Ok(Vec::new());
        }
        // What is there comes at once; a hole at the end never does.
        timeout(END_TIMEOUT, self.consumer.next(READ_BYTES)).await.unwrap_or(Ok(Vec::new()))
    }
}
