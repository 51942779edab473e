//! Requests, with the type numbers of before and since version 6.

use super::answer::as_name;
use super::message::{PacketIn, PacketOut};
use super::names::{kind, request_channel};
use crate::cluster::protocol::body::{event, json, msgpack, raw, text};
use crate::cluster::protocol::channels::Protocol;
use crate::cluster::protocol::options::{Options, OptionsOut};
use crate::cluster::protocol::packet::{Dialect, Emit, Malformed, Received, ReplyTo, Request, Unpublishable};
use crate::event::inline;
use crate::msgpack::Json;
use crate::redis::Publication;
use crate::target::Target;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::time::Duration;

/// Request types before version 6.
mod old_kind {
    pub(super) const CLIENTS: u8 = 0;
    pub(super) const CLIENT_ROOMS: u8 = 1;
    pub(super) const ALL_ROOMS: u8 = 2;
    pub(super) const JOIN: u8 = 3;
    pub(super) const LEAVE: u8 = 4;
    pub(super) const CUSTOM: u8 = 5;
    pub(super) const DISCONNECT: u8 = 6;
}

#[derive(Deserialize)]
struct RequestIn<'a> {
    r#type: u8,
    #[serde(default)]
    uid: Option<String>,
    #[serde(default, rename = "requestId")]
    id: Option<String>,
    #[serde(default, rename = "requestid")]
    old_id: Option<String>,
    #[serde(default)]
    opts: Option<Options>,
    #[serde(default, deserialize_with = "crate::room_names::names")]
    rooms: Vec<String>,
    #[serde(default)]
    sid: Option<String>,
    #[serde(default)]
    room: Option<serde_json::Value>,
    #[serde(default)]
    close: bool,
    #[serde(default, borrow)]
    data: Option<&'a RawValue>,
    #[serde(default, borrow)]
    packet: Option<PacketIn<'a>>,
}

pub(super) fn read(protocol: &Protocol, namespace: &str, body: &Bytes) -> Result<Received, Malformed> {
    let all = json(body)?;
    let mut it: RequestIn<'_> = serde_json::from_str(&all.text)?;
    if it.uid.as_deref() == Some(protocol.uid.as_str()) {
        return Ok(Received::NotForUs);
    }
    let dialect = if it.old_id.is_some() { Dialect::Old } else { Dialect::New };
    let id = it.old_id.take().or_else(|| it.id.take());
    let reply_to = id.map(|id| ReplyTo { id, uid: it.uid.take(), dialect });
    let request = if dialect == Dialect::Old { old_request(it) } else { new_request(it, namespace, &all)? };
    let received = |request| Received::Request { namespace: namespace.to_owned(), request, reply_to };
    Ok(request.map_or(Received::NotForUs, received))
}

fn new_request(it: RequestIn<'_>, namespace: &str, all: &Json) -> Result<Option<Request>, Malformed> {
    let timeout = it.opts.as_ref().and_then(Options::timeout);
    let origin = it.opts.as_ref().and_then(|options| options.greyhound.clone());
    let target = match (it.opts, it.sid, it.r#type) {
        (Some(options), ..) => options.target(),
        (None, Some(sid), _) => Target::room(sid),
        (None, None, kind::SOCKETS) => Target { rooms: it.rooms.clone(), ..Target::default() },
        (None, None, kind::ALL_ROOMS | kind::SERVER_SIDE_EMIT) => Target::default(),
        // A request without a target is not meant for everybody.
        (None, None, _) => return Ok(None),
    };
    let rooms = match it.room {
        Some(serde_json::Value::String(room)) => vec![room],
        Some(serde_json::Value::Number(room)) => vec![room.to_string()],
        _ => it.rooms,
    };
    Ok(Some(match it.r#type {
        kind::SOCKETS => Request::SocketIds(target),
        kind::ALL_ROOMS => Request::Rooms,
        kind::JOIN => Request::Join { target, rooms },
        kind::LEAVE => Request::Leave { target, rooms },
        kind::DISCONNECT => Request::Disconnect { target, close: it.close },
        kind::FETCH => Request::Sockets(target),
        kind::SERVER_SIDE_EMIT => {
            Request::ServerSide(inline(it.data.map_or("[]", RawValue::get).to_owned(), &all.attachments))
        }
        kind::BROADCAST => match it.packet {
            Some(packet) if packet.nsp.as_deref().unwrap_or("/") == namespace => Request::Emit(Emit {
                event: event(packet.data, all)?,
                target,
                timeout: timeout.unwrap_or(DEFAULT_ACK_TIMEOUT),
                origin,
            }),
            _ => return Ok(None),
        },
        _ => return Ok(None),
    }))
}

/// How long clients may take to acknowledge if a request does not say. Node's requests always do.
pub(in crate::cluster::protocol) const DEFAULT_ACK_TIMEOUT: Duration = Duration::from_secs(5);

fn old_request(it: RequestIn<'_>) -> Option<Request> {
    let socket = || it.sid.clone().map(Target::room);
    let rooms = || it.room.clone().map(|room| vec![as_name(room)]);
    Some(match it.r#type {
        old_kind::CLIENTS => Request::SocketIds(Target { rooms: it.rooms, ..Target::default() }),
        old_kind::CLIENT_ROOMS => Request::RoomsOf(it.sid?),
        old_kind::ALL_ROOMS => Request::Rooms,
        old_kind::JOIN => Request::Join { target: socket()?, rooms: rooms()? },
        old_kind::LEAVE => Request::Leave { target: socket()?, rooms: rooms()? },
        old_kind::CUSTOM => Request::Custom,
        old_kind::DISCONNECT => Request::Disconnect { target: socket()?, close: it.close },
        _ => return None,
    })
}

#[derive(Serialize)]
struct RequestOut<'a> {
    uid: &'a str,
    #[serde(rename = "requestId", skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    r#type: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    opts: Option<OptionsOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rooms: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    close: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
}

/// The only request in msgpack.
#[derive(Serialize)]
struct EmitOut<'a> {
    uid: &'a str,
    #[serde(rename = "requestId")]
    id: &'a str,
    r#type: u8,
    packet: PacketOut<'a>,
    opts: OptionsOut<'a>,
}

pub(in crate::cluster::protocol) fn request(
    protocol: &Protocol,
    namespace: &str,
    request: &Request,
    id: Option<&str>,
) -> Result<Publication, Unpublishable> {
    let channel = request_channel(protocol, namespace);
    let uid = protocol.uid.as_str();
    let mut out = RequestOut { uid, id, r#type: 0, opts: None, rooms: None, close: None, data: None };
    let options = |target| Some(OptionsOut::new(target, None, None));
    let data: Box<RawValue>;
    match request {
        Request::Emit(Emit { event, target, timeout, origin }) => {
            let packet = PacketOut::new(namespace, event);
            let opts = OptionsOut::new(target, Some(*timeout), origin.as_deref());
            let body = EmitOut { uid, id: id.unwrap_or_default(), r#type: kind::BROADCAST, packet, opts };
            return Ok(protocol.publication(channel, msgpack(&body)?));
        }
        Request::Join { target, rooms } => {
            (out.r#type, out.opts, out.rooms) = (kind::JOIN, options(target), Some(rooms.as_slice()))
        }
        Request::Leave { target, rooms } => {
            (out.r#type, out.opts, out.rooms) = (kind::LEAVE, options(target), Some(rooms.as_slice()))
        }
        Request::Disconnect { target, close } => {
            (out.r#type, out.opts, out.close) = (kind::DISCONNECT, options(target), Some(*close))
        }
        Request::Sockets(target) => (out.r#type, out.opts) = (kind::FETCH, options(target)),
        Request::Rooms => out.r#type = kind::ALL_ROOMS,
        Request::ServerSide(event) => {
            data = raw(event)?;
            (out.r#type, out.data) = (kind::SERVER_SIDE_EMIT, Some(&*data));
        }
        Request::SocketIds(_) | Request::RoomsOf(_) | Request::Custom => {
            return Err(Unpublishable("this request is sent only by versions before 6".into()));
        }
    }
    Ok(protocol.publication(channel, text(&out)?))
}
