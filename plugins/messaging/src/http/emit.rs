//! `POST /v1/messaging/emit`.

use super::shared::{Reached, Refusal, read, root, to, yes};
use crate::delivery::Receipt;
use crate::emitter::{Emission, Emitter, Message};
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::time::Duration;
use utoipa::ToSchema;

const HTTP_ACK_TIMEOUT_MIN: Duration = Duration::from_millis(1);
const HTTP_ACK_TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// A message.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Message)]
pub(super) struct Request {
    /// The rooms to send the message to. If empty, it goes to everybody in the namespace. A socket in several of the
    /// rooms receives it once. A socket's id is also the name of a room.
    #[serde(default)]
    #[schema(default = json!([]), max_items = 1000)]
    rooms: Vec<String>,
    /// The rooms whose members do not receive the message.
    #[serde(default)]
    #[schema(default = json!([]), max_items = 1000)]
    except: Vec<String>,
    /// The event's name. Names that socket.io reserves, such as `connect` and `disconnect`, are refused.
    event: String,
    /// The event's arguments: any JSON values.
    #[serde(default)]
    #[schema(value_type = Vec<serde_json::Value>, default = json!([]))]
    args: Vec<Box<RawValue>>,
    /// The namespace.
    #[serde(default = "root")]
    #[schema(default = root)]
    namespace: String,
    /// Whether to respond only once the message's row is durable.
    #[serde(default = "yes")]
    #[schema(default = yes)]
    durable: bool,
    /// Whether to drop the message for clients that cannot receive it immediately. Not allowed together with
    /// `ack_timeout`.
    #[serde(default)]
    #[schema(default = false)]
    volatile: bool,
    /// How long to wait for the clients to acknowledge the message: a duration such as "2s", "500ms" or "1m", from
    /// "1ms" to "60s". If omitted or null, no acknowledgement is requested.
    #[serde(default, with = "greyhound_sdk::config::duration::option")]
    #[schema(value_type = Option<String>, examples("2s", "500ms"))]
    ack_timeout: Option<Duration>,
}

/// The result of publishing a message. `acks`, `expected` and `complete` are present if, and only if, the request has
/// `ack_timeout`.
#[derive(Serialize, ToSchema)]
#[schema(as = Sent)]
pub(super) struct Answer {
    /// The message's id: its shard and the number of its row. Null if the message has no row.
    #[schema(required)]
    message: Option<String>,
    /// The number of the message's row. Null if the message has no row.
    #[schema(required)]
    seq: Option<u64>,
    /// The number of sockets on this node that the message is for.
    recipients: usize,
    /// Whether the message was published to the other nodes. Omitted if no Redis is configured, and with `ack_timeout`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    cluster: Option<Reached>,
    #[serde(skip_serializing_if = "Option::is_none", flatten)]
    #[schema(nullable = false)]
    acks: Option<AckReport>,
}

/// The clients' acknowledgements.
// The document shows a flattened optional struct as always present, so none of its fields may be required.
#[derive(Serialize, ToSchema)]
struct AckReport {
    /// The first argument of each acknowledgement: any JSON values.
    #[schema(value_type = Vec<serde_json::Value>, required = false)]
    acks: Vec<Box<RawValue>>,
    /// The number of sockets, on all nodes, that the message is for.
    #[schema(required = false)]
    expected: usize,
    /// Whether all nodes and sockets answered in time.
    #[schema(required = false)]
    complete: bool,
}

/// Publishes a message.
///
/// The message goes to sockets on all nodes. The response is sent once the message's row is durable and, if Redis is
/// configured, the message is published to the other nodes; with `ack_timeout`, once all clients have acknowledged it
/// or the time is up.
#[utoipa::path(
    post,
    path = "/emit",
    request_body(content = Request, examples(
        ("to a user" = (value = json!({ "rooms": ["user(1)"], "event": "message", "args": ["hello"] }))),
        ("to a site, except one user" = (value = json!({
            "rooms": ["site(example.com)"], "except": ["user(2)"], "event": "price", "args": [{ "item": 7, "price": 12.5 }, "EUR"]
        }))),
        ("to everybody, acknowledged" = (value = json!({ "event": "restart", "args": [], "ack_timeout": "2s" }))),
        ("every field" = (value = json!({
            "rooms": ["user(1)"], "except": ["user(2)"], "event": "cursor", "args": [{ "x": 1 }, null], "namespace": "/",
            "durable": false, "volatile": true, "ack_timeout": null
        })))
    )),
    responses((status = 200, description = "The message was sent.", body = Answer))
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
        Some(_) if *volatile => Err(Refusal::bad("`volatile`: not allowed together with `ack_timeout`")),
        Some(timeout) if !(HTTP_ACK_TIMEOUT_MIN..=HTTP_ACK_TIMEOUT_MAX).contains(timeout) => {
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
    let acks = Some(AckReport { acks: values, expected: acks.expected, complete: acks.complete });
    Ok(Answer { acks, cluster, ..answer(&emission, durable).await? })
}

/// The answer as far as this node knows it. If `durable`, waits until the message's row is durable.
async fn answer(emission: &Emission, durable: bool) -> Result<Answer, Refusal> {
    let Receipt { seq, recipients } = emission.receipt;
    if durable && let Err(lost) = emission.durable().await {
        let error = format!("the message was sent to {recipients} sockets but not recorded: {lost}");
        return Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, error));
    }
    Ok(Answer { message: emission.id(), seq, recipients, cluster: None, acks: None })
}
