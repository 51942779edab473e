//! Answers to requests.

use super::names::{kind, response_channel};
use crate::cluster::protocol::body::{json, msgpack, raw, text};
use crate::cluster::protocol::channels::Protocol;
use crate::cluster::protocol::packet::{Answer, Dialect, Malformed, Received, ReplyTo, Unpublishable};
use crate::msgpack::{FromJson, Json};
use crate::redis::Publication;
use crate::remote_socket::RemoteSocket;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct AnswerIn<'a> {
    #[serde(default)]
    r#type: Option<u8>,
    #[serde(default, rename = "requestId")]
    id: Option<String>,
    #[serde(default)]
    rooms: Option<Vec<serde_json::Value>>,
    #[serde(default, borrow)]
    sockets: Option<&'a RawValue>,
    #[serde(default, rename = "clientCount")]
    clients: Option<u64>,
    #[serde(default, borrow)]
    packet: Option<&'a RawValue>,
    #[serde(default, borrow)]
    data: Option<&'a RawValue>,
}

pub(super) fn read(body: &Bytes) -> Result<Received, Malformed> {
    let all = json(body)?;
    let it: AnswerIn<'_> = serde_json::from_str(&all.text)?;
    let Some(id) = it.id else { return Ok(Received::NotForUs) };
    let null = || "null".to_owned();
    let answer = match it.r#type {
        Some(kind::BROADCAST_CLIENT_COUNT) => Answer::Clients(it.clients.unwrap_or(0)),
        Some(kind::BROADCAST_ACK) => {
            let text = it.packet.map_or_else(null, |value| value.get().to_owned());
            Answer::Ack(Json { text, attachments: all.attachments.clone(), placed: Vec::new() })
        }
        Some(kind::SERVER_SIDE_EMIT) => Answer::ServerSide(it.data.map_or_else(null, |value| value.get().to_owned())),
        _ => match (it.rooms, it.sockets) {
            (Some(rooms), _) => Answer::Rooms(rooms.into_iter().map(as_name).collect()),
            (None, Some(sockets)) => Answer::Sockets(serde_json::from_str(sockets.get())?),
            (None, None) => Answer::Done,
        },
    };
    Ok(Received::Answer { id, answer })
}

pub(super) fn as_name(value: serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    }
}

#[derive(Serialize, Default)]
struct AnswerOut<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<u8>,
    #[serde(rename = "requestId", skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(rename = "requestid", skip_serializing_if = "Option::is_none")]
    old_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rooms: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sockets: Option<&'a [RemoteSocket]>,
    #[serde(rename = "sockets", skip_serializing_if = "Option::is_none")]
    socket_ids: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clients: Option<&'a [String]>,
    #[serde(rename = "clientCount", skip_serializing_if = "Option::is_none")]
    client_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct AckOut<'a> {
    r#type: u8,
    #[serde(rename = "requestId")]
    id: &'a str,
    packet: FromJson<'a>,
}

pub(in crate::cluster::protocol) fn answer(
    protocol: &Protocol,
    namespace: &str,
    to: &ReplyTo,
    answer: &Answer,
) -> Result<Publication, Unpublishable> {
    let shared = response_channel(protocol, namespace);
    // A member that names itself in its request (since 7.1) has its own channel for answers, which spares the others.
    let own = to.uid.as_ref().map_or_else(|| shared.clone(), |uid| format!("{shared}{uid}#"));
    let old = to.dialect == Dialect::Old;
    let (id, old_id) = if old { (None, Some(to.id.as_str())) } else { (Some(to.id.as_str()), None) };
    let mut out = AnswerOut { id, old_id, ..AnswerOut::default() };
    let data: Box<RawValue>;
    match answer {
        Answer::Ack(Json { text, attachments, .. }) => {
            let body = AckOut { r#type: kind::BROADCAST_ACK, id: &to.id, packet: FromJson { text, attachments } };
            return Ok(protocol.publication(own, msgpack(&body)?));
        }
        Answer::Rooms(rooms) => out.rooms = Some(rooms),
        Answer::Sockets(sockets) => out.sockets = Some(sockets),
        Answer::SocketIds(ids) if old => out.clients = Some(ids),
        Answer::SocketIds(ids) => out.socket_ids = Some(ids),
        Answer::Clients(count) => (out.r#type, out.client_count) = (Some(kind::BROADCAST_CLIENT_COUNT), Some(*count)),
        Answer::ServerSide(value) => {
            data = raw(value)?;
            out.data = Some(&data);
            if !old {
                out.r#type = Some(kind::SERVER_SIDE_EMIT);
                return Ok(protocol.publication(shared, text(&out)?));
            }
        }
        Answer::Done => {}
    }
    Ok(protocol.publication(own, text(&out)?))
}
