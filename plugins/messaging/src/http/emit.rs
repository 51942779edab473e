//! `POST /v1/messaging/emit`.

use super::{Backend, Reached, Refusal, read, root, to, yes};
use crate::emit::Message;
use crate::outlet::Receipt;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::time::Duration;

/// The longest that clients may take to acknowledge.
const LONGEST: Duration = Duration::from_secs(60);

/// A message.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    /// The rooms that it is for; empty: everybody in the namespace.
    #[serde(default)]
    rooms: Vec<String>,
    /// The rooms whose members are left out.
    #[serde(default)]
    except: Vec<String>,
    /// The event's name.
    event: String,
    /// The event's arguments.
    #[serde(default)]
    args: Vec<Box<RawValue>>,
    /// The namespace.
    #[serde(default = "root")]
    namespace: String,
    /// Whether to answer only when the message's row is durable.
    #[serde(default = "yes")]
    durable: bool,
    /// Whether those who cannot take it at once do without.
    #[serde(default)]
    volatile: bool,
    /// Ask the clients to acknowledge it, and wait so long for them, such as "2s".
    #[serde(default, with = "greyhound_sdk::config::duration::option")]
    ack_timeout: Option<Duration>,
}

/// What became of a message.
#[derive(Serialize)]
pub(super) struct Answer {
    /// The message's id: its shard and the number of its row.
    message: Option<String>,
    /// The number of its row.
    seq: Option<u64>,
    /// To how many sockets of this node it was meant to go.
    recipients: usize,
    /// Whether it is on its way to the other nodes; not there where this node is alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<Reached>,
    #[serde(skip_serializing_if = "Option::is_none", flatten)]
    acks: Option<Acks>,
}

/// What the clients acknowledged.
#[derive(Serialize)]
struct Acks {
    /// The first argument of each acknowledgement.
    acks: Vec<Box<RawValue>>,
    /// To how many sockets of all nodes it went.
    expected: usize,
    /// Whether all nodes and all sockets answered in time.
    complete: bool,
}

pub(super) async fn emit(State(backend): State<Backend>, body: Result<Bytes, BytesRejection>) -> Result<Json<Answer>, Refusal> {
    let request: Request = read(body, "a message")?;
    let Request { rooms, except, event, args, namespace, durable, volatile, ack_timeout } = &request;
    let to = to(namespace, rooms, except)?;
    let message = Message { event, args, to, volatile: *volatile, source: "http", publisher: None };
    match ack_timeout {
        None => send(&backend, &message, *durable).await,
        Some(_) if *volatile => Err(Refusal::bad("`volatile`: a message that is to be acknowledged cannot be volatile")),
        Some(timeout) if !(Duration::from_millis(1)..=LONGEST).contains(timeout) => {
            Err(Refusal::bad("`ack_timeout`: expected \"1ms\" to \"60s\""))
        }
        Some(timeout) => send_with_ack(&backend, &message, *timeout).await,
    }
    .map(Json)
}

async fn send(backend: &Backend, message: &Message<'_>, durable: bool) -> Result<Answer, Refusal> {
    let emission = backend.emitter.emit(message)?;
    let receipt = emission.receipt;
    if durable && let Err(lost) = emission.durable().await {
        let error = format!("it was sent to {} sockets but not recorded: {lost}", receipt.recipients);
        return Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, error));
    }
    let cluster = emission.reached().await.map(Reached::new);
    Ok(Answer { cluster, ..answer(backend, receipt) })
}

async fn send_with_ack(backend: &Backend, message: &Message<'_>, timeout: Duration) -> Result<Answer, Refusal> {
    let (receipt, acks) = backend.emitter.emit_with_ack(message, timeout).await?;
    let values = acks.values.into_iter().filter_map(|value| RawValue::from_string(value).ok()).collect();
    let acks = Some(Acks { acks: values, expected: acks.expected, complete: acks.complete });
    Ok(Answer { acks, ..answer(backend, receipt) })
}

fn answer(backend: &Backend, receipt: Receipt) -> Answer {
    let message = backend.emitter.id(&backend.shard, receipt);
    Answer { message, seq: receipt.seq, recipients: receipt.recipients, cluster: None, acks: None }
}
