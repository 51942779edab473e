//! The protocol of the sharded adapter in `@socket.io/redis-adapter` (Redis 7): answers on `<prefix>#<nsp>#<uid>#`,
//! messages to one room on `<prefix>#<nsp>#<room>#`, everything else on `<prefix>#<nsp>#`.

use super::body::{event, json, msgpack, text};
use super::channels::Protocol;
use super::classic::{DEFAULT_ACK_TIMEOUT, PacketOut};
use super::options::{Options, OptionsOut};
use super::packet::{Answer, Dialect, Emit, Malformed, Message, Received, ReplyTo, Request, Unpublishable};
use crate::config::SubscriptionMode;
use crate::event::{Event, inline};
use crate::msgpack::{FromJson, Json};
use crate::redis::{Publication, Subscription};
use crate::remote_socket::RemoteSocket;
use crate::target::Target;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

mod kind {
    pub(super) const BROADCAST: u8 = 3;
    pub(super) const JOIN: u8 = 4;
    pub(super) const LEAVE: u8 = 5;
    pub(super) const DISCONNECT: u8 = 6;
    pub(super) const FETCH: u8 = 7;
    pub(super) const FETCHED: u8 = 8;
    pub(super) const SERVER_SIDE_EMIT: u8 = 9;
    pub(super) const SERVER_SIDE_EMIT_RESPONSE: u8 = 10;
    pub(super) const BROADCAST_CLIENT_COUNT: u8 = 11;
    pub(super) const BROADCAST_ACK: u8 = 12;
}

pub(super) fn subscriptions(protocol: &Protocol, namespace: &str) -> Vec<Subscription> {
    let channel = protocol.channel(namespace);
    vec![Subscription::Shard(format!("{channel}{}#", protocol.uid)), Subscription::Shard(channel)]
}

#[derive(Deserialize)]
struct In<'a> {
    r#type: u8,
    #[serde(default)]
    uid: Option<String>,
    #[serde(default)]
    nsp: Option<String>,
    #[serde(default, borrow)]
    data: Option<DataIn<'a>>,
}

#[derive(Deserialize, Default)]
struct DataIn<'a> {
    #[serde(default, rename = "requestId")]
    id: Option<String>,
    #[serde(default)]
    opts: Option<Options>,
    #[serde(default, deserialize_with = "crate::room_names::names")]
    rooms: Vec<String>,
    #[serde(default)]
    close: bool,
    #[serde(default, borrow)]
    packet: Option<&'a RawValue>,
    #[serde(default, borrow)]
    sockets: Option<Vec<&'a RawValue>>,
    #[serde(default, rename = "clientCount")]
    clients: Option<u64>,
}

#[derive(Deserialize)]
struct PacketIn<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
}

pub(super) fn read(protocol: &Protocol, channel: &str, body: &Bytes) -> Result<Received, Malformed> {
    let (namespace, rest) = protocol.split(channel, "#").ok_or(Malformed::Channel)?;
    let all = json(body)?;
    let In { r#type, uid, nsp, data } = serde_json::from_str(&all.text)?;
    if uid.as_deref() == Some(protocol.uid.as_str()) || nsp.is_some_and(|nsp| nsp != namespace) {
        return Ok(Received::NotForUs);
    }
    let data = data.unwrap_or_default();
    let room = rest.strip_suffix('#').filter(|room| *room != protocol.uid).map(str::to_owned);
    if (kind::FETCHED..=kind::BROADCAST_ACK).contains(&r#type) && r#type != kind::SERVER_SIDE_EMIT {
        return read_answer(r#type, data, &all);
    }
    let packet_event = |data: &DataIn<'_>| -> Result<Event, Malformed> {
        let packet: PacketIn<'_> = serde_json::from_str(data.packet.map_or("null", RawValue::get))?;
        event(packet.data, &all)
    };
    if r#type == kind::BROADCAST && data.id.is_none() {
        let event = packet_event(&data)?;
        let options = data.opts.ok_or_else(|| serde::de::Error::custom("no `opts`")).map_err(Malformed::Shape)?;
        let origin = options.greyhound.clone();
        let source = if origin.is_some() { "greyhound" } else { "node" };
        let (namespace, target) = (namespace.to_owned(), options.target());
        return Ok(Received::Message(Message {
            source,
            publisher: uid,
            namespace,
            channel_room: room,
            event,
            target,
            origin,
        }));
    }
    let event = if r#type == kind::BROADCAST { Some(packet_event(&data)?) } else { None };
    let reply_to = data.id.map(|id| ReplyTo { id, uid, dialect: Dialect::New });
    let origin = data.opts.as_ref().and_then(|options| options.greyhound.clone());
    let timeout = data.opts.as_ref().and_then(Options::timeout).unwrap_or(DEFAULT_ACK_TIMEOUT);
    let target = match data.opts.map(Options::target) {
        Some(target) => target,
        None if r#type == kind::SERVER_SIDE_EMIT => Target::default(),
        // A request without a target is not meant for everybody.
        None => return Ok(Received::NotForUs),
    };
    let request = match r#type {
        kind::BROADCAST => Request::Emit(Emit { event: event.expect("read above"), target, timeout, origin }),
        kind::JOIN => Request::Join { target, rooms: data.rooms },
        kind::LEAVE => Request::Leave { target, rooms: data.rooms },
        kind::DISCONNECT => Request::Disconnect { target, close: data.close },
        kind::FETCH => Request::Sockets(target),
        kind::SERVER_SIDE_EMIT => {
            Request::ServerSide(inline(data.packet.map_or("[]", RawValue::get).to_owned(), &all.attachments))
        }
        _ => return Ok(Received::NotForUs),
    };
    Ok(Received::Request { namespace: namespace.to_owned(), request, reply_to })
}

fn read_answer(r#type: u8, data: DataIn<'_>, all: &Json) -> Result<Received, Malformed> {
    let Some(id) = data.id else { return Ok(Received::NotForUs) };
    let value = || data.packet.map_or("null", RawValue::get).to_owned();
    let answer = match r#type {
        kind::FETCHED => {
            let sockets = data.sockets.unwrap_or_default().into_iter();
            Answer::Sockets(sockets.map(|socket| serde_json::from_str(socket.get())).collect::<Result<_, _>>()?)
        }
        kind::BROADCAST_CLIENT_COUNT => Answer::Clients(data.clients.unwrap_or(0)),
        kind::BROADCAST_ACK => {
            Answer::Ack(Json { text: value(), attachments: all.attachments.clone(), placed: Vec::new() })
        }
        _ => Answer::ServerSide(value()),
    };
    Ok(Received::Answer { id, answer })
}

#[derive(Serialize)]
struct Out<'a> {
    r#type: u8,
    data: DataOut<'a>,
    uid: &'a str,
    nsp: &'a str,
}

#[derive(Serialize, Default)]
struct DataOut<'a> {
    #[serde(rename = "requestId", skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    packet: Option<Payload<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    opts: Option<OptionsOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rooms: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    close: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sockets: Option<&'a [RemoteSocket]>,
    #[serde(rename = "clientCount", skip_serializing_if = "Option::is_none")]
    clients: Option<u64>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Payload<'a> {
    Packet(PacketOut<'a>),
    /// A value without a packet around it.
    Value(FromJson<'a>),
}

impl<'a> Payload<'a> {
    fn event(event: &'a Event, namespace: &'a str) -> Option<Self> {
        Some(Self::Packet(PacketOut::new(namespace, event)))
    }

    fn value(text: &'a str) -> Option<Self> {
        Some(Self::Value(FromJson { text, attachments: &[] }))
    }
}

/// Encodes as JSON, or as msgpack if there is binary data.
fn publication(
    protocol: &Protocol,
    channel: String,
    out: &Out<'_>,
    binary: bool,
) -> Result<Publication, Unpublishable> {
    let body = if binary { msgpack(out)? } else { text(out)? };
    Ok(protocol.publication(channel, body))
}

pub(super) fn message(
    protocol: &Protocol,
    namespace: &str,
    event: &Event,
    target: &Target,
    origin: Option<&str>,
) -> Result<Publication, Unpublishable> {
    let data = DataOut {
        packet: Payload::event(event, namespace),
        opts: Some(OptionsOut::new(target, None, origin)),
        ..DataOut::default()
    };
    let out = Out { r#type: kind::BROADCAST, data, uid: &protocol.uid, nsp: namespace };
    let mut channel = protocol.channel(namespace);
    if let Some(room) = own_channel(protocol.subscription, &target.rooms) {
        channel.push_str(room);
        channel.push('#');
    }
    publication(protocol, channel, &out, !event.attachments.is_empty())
}

/// Returns the room, if there is only one and it has its own channel. With `SubscriptionMode::Dynamic`, rooms that look like a
/// socket's id (20 characters) have none.
fn own_channel(mode: SubscriptionMode, rooms: &[String]) -> Option<&String> {
    let [room] = rooms else { return None };
    match mode {
        SubscriptionMode::Dynamic => (room.encode_utf16().count() != 20).then_some(room),
        SubscriptionMode::DynamicPrivate => Some(room),
        _ => None,
    }
}

pub(super) fn request(
    protocol: &Protocol,
    namespace: &str,
    request: &Request,
    id: Option<&str>,
) -> Result<Publication, Unpublishable> {
    let options = |target| Some(OptionsOut::new(target, None, None));
    let mut data = DataOut { id, ..DataOut::default() };
    let mut binary = false;
    let r#type = match request {
        Request::Emit(Emit { event, target, timeout, origin }) => {
            (data.packet, data.opts) =
                (Payload::event(event, namespace), Some(OptionsOut::new(target, Some(*timeout), origin.as_deref())));
            binary = !event.attachments.is_empty();
            kind::BROADCAST
        }
        Request::Join { target, rooms } => {
            (data.opts, data.rooms) = (options(target), Some(rooms.as_slice()));
            kind::JOIN
        }
        Request::Leave { target, rooms } => {
            (data.opts, data.rooms) = (options(target), Some(rooms.as_slice()));
            kind::LEAVE
        }
        Request::Disconnect { target, close } => {
            (data.opts, data.close) = (options(target), Some(*close));
            kind::DISCONNECT
        }
        Request::Sockets(target) => {
            data.opts = options(target);
            kind::FETCH
        }
        Request::ServerSide(event) => {
            data.packet = Payload::value(event);
            kind::SERVER_SIDE_EMIT
        }
        Request::Rooms | Request::SocketIds(_) | Request::RoomsOf(_) | Request::Custom => {
            return Err(Unpublishable("the sharded protocol has no such request".into()));
        }
    };
    let out = Out { r#type, data, uid: &protocol.uid, nsp: namespace };
    publication(protocol, protocol.channel(namespace), &out, binary)
}

pub(super) fn answer(
    protocol: &Protocol,
    namespace: &str,
    to: &ReplyTo,
    answer: &Answer,
) -> Result<Publication, Unpublishable> {
    let mut data = DataOut { id: Some(&to.id), ..DataOut::default() };
    let mut binary = false;
    let r#type = match answer {
        Answer::Sockets(sockets) => {
            data.sockets = Some(sockets);
            kind::FETCHED
        }
        Answer::Clients(count) => {
            data.clients = Some(*count);
            kind::BROADCAST_CLIENT_COUNT
        }
        Answer::Ack(Json { text, attachments, .. }) => {
            data.packet = Some(Payload::Value(FromJson { text, attachments }));
            binary = !attachments.is_empty();
            kind::BROADCAST_ACK
        }
        Answer::ServerSide(value) => {
            data.packet = Payload::value(value);
            kind::SERVER_SIDE_EMIT_RESPONSE
        }
        Answer::Rooms(_) | Answer::SocketIds(_) | Answer::Done => {
            return Err(Unpublishable("the sharded protocol has no such answer".into()));
        }
    };
    let uid = to.uid.as_deref().unwrap_or_default();
    let out = Out { r#type, data, uid: &protocol.uid, nsp: namespace };
    publication(protocol, format!("{}{uid}#", protocol.channel(namespace)), &out, binary)
}
