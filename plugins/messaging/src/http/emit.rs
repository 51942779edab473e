//! `POST /v1/messaging/emit`.

use super::{Reached, Refusal, read, root, to, yes};
use crate::emit::{Emission, Emitter, Message};
use crate::outlet::Receipt;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::time::Duration;
use utoipa::ToSchema;

/// The longest that clients may take to acknowledge.
const LONGEST: Duration = Duration::from_secs(60);

/// A message.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Message)]
pub(super) struct Request {
    /// The rooms that it is for; empty: everybody in the namespace. A socket in several of them gets it once. The id of
    /// a socket is a room as well.
    #[serde(default)]
    #[schema(default = json!([]), max_items = 1000)]
    rooms: Vec<String>,
    /// The rooms whose members are left out.
    #[serde(default)]
    #[schema(default = json!([]), max_items = 1000)]
    except: Vec<String>,
    /// The event's name; none of socket.io's own (`connect`, `disconnect` and the like).
    event: String,
    /// The event's arguments, each any JSON.
    #[serde(default)]
    #[schema(value_type = Vec<serde_json::Value>, default = json!([]))]
    args: Vec<Box<RawValue>>,
    /// The namespace.
    #[serde(default = "root")]
    #[schema(default = root)]
    namespace: String,
    /// Whether to answer only when the message's row is durable.
    #[serde(default = "yes")]
    #[schema(default = yes)]
    durable: bool,
    /// Whether those who cannot take it at once do without. Not together with `ack_timeout`.
    #[serde(default)]
    #[schema(default = false)]
    volatile: bool,
    /// Ask the clients to acknowledge it, and wait so long for them: a duration such as "2s", "500ms" or "1m", from
    /// "1ms" to "60s". Where it is left out or null, they are not asked.
    #[serde(default, with = "greyhound_sdk::config::duration::option")]
    #[schema(value_type = Option<String>, examples("2s", "500ms"))]
    ack_timeout: Option<Duration>,
}

/// What became of a message. `acks`, `expected` and `complete` are there with `ack_timeout` only, and then all three.
#[derive(Serialize, ToSchema)]
#[schema(as = Sent)]
pub(super) struct Answer {
    /// The message's id: its shard and the number of its row; null where it got no row.
    #[schema(required)]
    message: Option<String>,
    /// The number of its row; null where it got none.
    #[schema(required)]
    seq: Option<u64>,
    /// To how many sockets of this node it was meant to go.
    recipients: usize,
    /// Whether it is on its way to the other nodes; left out where no Redis is configured, and with `ack_timeout`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    cluster: Option<Reached>,
    #[serde(skip_serializing_if = "Option::is_none", flatten)]
    #[schema(nullable = false)]
    acks: Option<Acks>,
}

/// What the clients acknowledged.
// To the document, a flattened field is always there: so none of its own is required.
#[derive(Serialize, ToSchema)]
struct Acks {
    /// The first argument of each acknowledgement, any JSON.
    #[schema(value_type = Vec<serde_json::Value>, required = false)]
    acks: Vec<Box<RawValue>>,
    /// To how many sockets of all nodes it went.
    #[schema(required = false)]
    expected: usize,
    /// Whether all nodes and all sockets answered in time.
    #[schema(required = false)]
    complete: bool,
}

/// Publishes a message.
///
/// It goes to sockets of all nodes. The answer comes when its row is durable and, where Redis is configured, when it is
/// on its way to the other nodes; with `ack_timeout`, when all clients acknowledged it or the time is over.
#[utoipa::path(
    post,
    path = "/emit",
    request_body(content = Request, examples(
        ("to a user" = (value = json!({ "rooms": ["user(1)"], "event": "message", "args": ["hello"] }))),
        ("to a site, but for a user" = (value = json!({
            "rooms": ["site(example.com)"], "except": ["user(2)"], "event": "price", "args": [{ "item": 7, "price": 12.5 }, "EUR"]
        }))),
        ("to everybody, acknowledged" = (value = json!({ "event": "restart", "args": [], "ack_timeout": "2s" }))),
        ("every field" = (value = json!({
            "rooms": ["user(1)"], "except": ["user(2)"], "event": "cursor", "args": [{ "x": 1 }, null], "namespace": "/",
            "durable": false, "volatile": true, "ack_timeout": null
        })))
    )),
    responses((status = 200, description = "It was sent.", body = Answer))
)]
pub(super) async fn emit(
    State(emitter): State<Emitter>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Answer>, Refusal> {
    let request: Request = read(body, "a message")?;
    let Request { rooms, except, event, args, namespace, durable, volatile, ack_timeout } = &request;
    let to = to(namespace, rooms, except)?;
    let message = Message { event, args, to, volatile: *volatile, source: "http", publisher: None };
    match ack_timeout {
        None => send(&emitter, &message, *durable).await,
        Some(_) if *volatile => {
            Err(Refusal::bad("`volatile`: a message that is to be acknowledged cannot be volatile"))
        }
        Some(timeout) if !(Duration::from_millis(1)..=LONGEST).contains(timeout) => {
            Err(Refusal::bad("`ack_timeout`: expected \"1ms\" to \"60s\""))
        }
        Some(timeout) => send_with_ack(&emitter, &message, *durable, *timeout).await,
    }
    .map(Json)
}

async fn send(emitter: &Emitter, message: &Message<'_>, durable: bool) -> Result<Answer, Refusal> {
    let emission = emitter.emit(message)?;
    let answer = answer(&emission, durable).await?;
    let cluster = emission.reached().await.map(Reached::new);
    Ok(Answer { cluster, ..answer })
}

async fn send_with_ack(
    emitter: &Emitter,
    message: &Message<'_>,
    durable: bool,
    timeout: Duration,
) -> Result<Answer, Refusal> {
    let (emission, acks) = emitter.emit_with_ack(message, timeout).await?;
    let values = acks.values.into_iter().filter_map(|value| RawValue::from_string(value).ok()).collect();
    let cluster = acks.cluster.map(Reached::new);
    let acks = Some(Acks { acks: values, expected: acks.expected, complete: acks.complete });
    Ok(Answer { acks, cluster, ..answer(&emission, durable).await? })
}

/// What is known here, once the message's row is durable where that is wanted.
async fn answer(emission: &Emission, durable: bool) -> Result<Answer, Refusal> {
    let Receipt { seq, recipients } = emission.receipt;
    if durable && let Err(lost) = emission.durable().await {
        let error = format!("it was sent to {recipients} sockets but not recorded: {lost}");
        return Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, error));
    }
    Ok(Answer { message: emission.id(), seq, recipients, cluster: None, acks: None })
}
