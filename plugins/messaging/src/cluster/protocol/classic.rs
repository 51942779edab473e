//! The protocol of socket.io-redis and `@socket.io/redis-adapter`, and of every emitter.
//!
//! Messages are msgpack on `<prefix>#<nsp>#` and `<prefix>#<nsp>#<room>#`, requests and answers mostly JSON on
//! `<prefix>-request#<nsp>#` and `<prefix>-response#<nsp>#`.

use super::options::{Options, OptionsOut};
use super::{Answer, Dialect, Malformed, Message, Protocol, Received, RemoteSocket, ReplyTo, Request, Target, Unpublishable};
use super::{escape, event, json, options};
use crate::config::Rooms;
use crate::event::Event;
use crate::msgpack::{FromJson, Json};
use crate::redis::{Publication, Subscription};
use bytes::Bytes;
use rmp_serde::encode::to_vec_named;
use serde::de::value::MapAccessDeserializer;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use std::fmt;
use std::time::Duration;

/// What the uid of emitters is.
const EMITTER: &str = "emitter";

pub(super) fn subscriptions(protocol: &Protocol, namespace: &str) -> Vec<Subscription> {
    let channel = protocol.channel(namespace);
    let messages = match protocol.rooms {
        Rooms::Pattern => Subscription::Pattern(format!("{}*", escape(&channel))),
        _ => Subscription::Channel(channel),
    };
    let responses = response_channel(protocol, namespace);
    let own = format!("{responses}{}#", protocol.uid);
    let rest = [request_channel(protocol, namespace), responses, own, emitter_channel(protocol)];
    rest.into_iter().map(Subscription::Channel).chain([messages]).collect()
}

pub(super) fn request_channel(protocol: &Protocol, namespace: &str) -> String {
    format!("{}-request#{namespace}#", protocol.prefix)
}

pub(super) fn response_channel(protocol: &Protocol, namespace: &str) -> String {
    format!("{}-response#{namespace}#", protocol.prefix)
}

/// The channel of emitters before 1.0, for all namespaces.
fn emitter_channel(protocol: &Protocol) -> String {
    format!("{}#emitter", protocol.prefix)
}

pub(super) fn read(protocol: &Protocol, channel: &str, body: &Bytes) -> Result<Received, Malformed> {
    if let Some((namespace, rest)) = protocol.split(channel, "-request#") {
        return if rest.is_empty() { read_request(protocol, namespace, body) } else { Ok(Received::NotForUs) };
    }
    if protocol.split(channel, "-response#").is_some() {
        return read_answer(body);
    }
    if channel == emitter_channel(protocol) {
        return read_message(protocol, None, None, body);
    }
    let (namespace, rest) = protocol.split(channel, "#").ok_or(Malformed::Channel)?;
    let room = rest.strip_suffix('#').map(str::to_owned);
    read_message(protocol, Some(namespace), room, body)
}

// === messages ===

#[derive(Deserialize)]
struct PacketIn<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(default)]
    nsp: Option<String>,
}

/// `[uid, packet, options]`, or before 1.0 `[packet, options]`.
struct MessageIn<'a> {
    uid: Option<String>,
    packet: PacketIn<'a>,
    options: Options,
}

/// What a message begins with.
enum First<'a> {
    Uid(Option<String>),
    Packet(PacketIn<'a>),
}

impl<'de> Deserialize<'de> for MessageIn<'de> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Parts;
        impl<'de> Visitor<'de> for Parts {
            type Value = MessageIn<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of who sends, the packet and the options")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Self::Value, A::Error> {
                let missing = |at| serde::de::Error::invalid_length(at, &self);
                let (uid, packet) = match parts.next_element()?.ok_or_else(|| missing(0))? {
                    First::Uid(uid) => (uid, parts.next_element()?.ok_or_else(|| missing(1))?),
                    First::Packet(packet) => (None, packet),
                };
                let options = parts.next_element()?.ok_or_else(|| missing(2))?;
                while parts.next_element::<IgnoredAny>()?.is_some() {}
                Ok(MessageIn { uid, packet, options })
            }
        }
        input.deserialize_seq(Parts)
    }
}

impl<'de> Deserialize<'de> for First<'de> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = First<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("who sends, or a packet")
            }

            fn visit_str<E>(self, uid: &str) -> Result<Self::Value, E> {
                Ok(First::Uid(Some(uid.to_owned())))
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(First::Uid(None))
            }

            fn visit_u64<E>(self, uid: u64) -> Result<Self::Value, E> {
                Ok(First::Uid(Some(uid.to_string())))
            }

            fn visit_map<A: MapAccess<'de>>(self, packet: A) -> Result<Self::Value, A::Error> {
                PacketIn::deserialize(MapAccessDeserializer::new(packet)).map(First::Packet)
            }
        }
        input.deserialize_any(Either)
    }
}

/// `{data, room}`.
#[derive(Deserialize)]
struct MapIn<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(default, alias = "rooms", deserialize_with = "options::names")]
    room: Vec<String>,
    #[serde(default)]
    nsp: Option<String>,
}

fn read_message(protocol: &Protocol, namespace: Option<&str>, channel_room: Option<String>, body: &Bytes) -> Result<Received, Malformed> {
    let all = json(body)?;
    if all.text.starts_with('{') {
        return read_map(&all, namespace);
    }
    let MessageIn { uid, packet, options } = serde_json::from_str(&all.text)?;
    if uid.as_deref() == Some(protocol.uid.as_str()) {
        return Ok(Received::NotForUs);
    }
    let Some(namespace) = agreed(namespace, packet.nsp) else { return Ok(Received::NotForUs) };
    let source = match uid.as_deref() {
        _ if options.greyhound.is_some() => "greyhound",
        None => "emitter 0.x",
        Some(EMITTER) if options.knows_except() => "emitter 4-5",
        Some(EMITTER) => "emitter 1-3",
        Some(_) => "node",
    };
    let event = event(packet.data, &all)?;
    let origin = options.greyhound.clone();
    Ok(Received::Message(Message { source, publisher: uid, namespace, channel_room, event, target: options.target(), origin }))
}

/// The namespace of a packet: `/` where it names none. None where it is on the channel of another one.
fn agreed(channel: Option<&str>, packet: Option<String>) -> Option<String> {
    let named = packet.filter(|nsp| !nsp.is_empty()).unwrap_or_else(|| "/".into());
    channel.is_none_or(|channel| channel == named).then_some(named)
}

fn read_map(all: &Json, namespace: Option<&str>) -> Result<Received, Malformed> {
    let map: MapIn<'_> = serde_json::from_str(&all.text)?;
    let Some(namespace) = agreed(namespace, map.nsp) else { return Ok(Received::NotForUs) };
    let mut named = event(map.data, all).ok().filter(|_| map.data.get().starts_with("[\""));
    if named.is_none() {
        // Data without an event's name is a `message`.
        let data = map.data.to_owned();
        named = Some(Event::new("message", &[data]).with(all.attachments.clone()));
    }
    let event = named.expect("set above");
    let target = Target { rooms: map.room, ..Target::default() };
    Ok(Received::Message(Message { source: "map", publisher: None, namespace, channel_room: None, event, target, origin: None }))
}

#[derive(Serialize)]
struct PacketOut<'a> {
    r#type: u8,
    data: FromJson<'a>,
    nsp: &'a str,
}

impl<'a> PacketOut<'a> {
    fn new(namespace: &'a str, event: &'a Event) -> Self {
        // The receiver says 5 (binary) to its clients where it finds binary data.
        Self { r#type: 2, data: FromJson { text: &event.text, attachments: &event.attachments }, nsp: namespace }
    }
}

pub(super) fn message(
    protocol: &Protocol,
    namespace: &str,
    event: &Event,
    target: &Target,
    origin: Option<&str>,
) -> Result<Publication, Unpublishable> {
    let body = (&protocol.uid, PacketOut::new(namespace, event), OptionsOut::new(target, None, origin));
    let mut channel = protocol.channel(namespace);
    if let [room] = &target.rooms[..] {
        channel.push_str(room);
        channel.push('#');
    }
    Ok(protocol.publication(channel, msgpack(&body)?))
}

fn msgpack(body: &impl Serialize) -> Result<Bytes, Unpublishable> {
    to_vec_named(body).map(Bytes::from).map_err(|e| Unpublishable(e.to_string()))
}

fn text(body: &impl Serialize) -> Result<Bytes, Unpublishable> {
    serde_json::to_vec(body).map(Bytes::from).map_err(|e| Unpublishable(e.to_string()))
}

// === requests ===

/// The numbers of the requests since 6.
mod kind {
    pub(super) const SOCKETS: u8 = 0;
    pub(super) const ALL_ROOMS: u8 = 1;
    pub(super) const JOIN: u8 = 2;
    pub(super) const LEAVE: u8 = 3;
    pub(super) const DISCONNECT: u8 = 4;
    pub(super) const FETCH: u8 = 5;
    pub(super) const SERVER_SIDE_EMIT: u8 = 6;
    pub(super) const BROADCAST: u8 = 7;
    pub(super) const BROADCAST_CLIENT_COUNT: u8 = 8;
    pub(super) const BROADCAST_ACK: u8 = 9;
}

/// Those before 6.
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
    #[serde(default, deserialize_with = "options::names")]
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

fn read_request(protocol: &Protocol, namespace: &str, body: &Bytes) -> Result<Received, Malformed> {
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
    let target = match (it.opts, it.sid, it.r#type) {
        (Some(options), ..) => options.target(),
        (None, Some(sid), _) => Target::room(sid),
        (None, None, kind::SOCKETS) => Target { rooms: it.rooms.clone(), ..Target::default() },
        (None, None, kind::ALL_ROOMS | kind::SERVER_SIDE_EMIT) => Target::default(),
        // Whoever names nobody does not mean everybody.
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
        kind::SERVER_SIDE_EMIT => Request::ServerSide(it.data.map_or("[]", RawValue::get).to_owned()),
        kind::BROADCAST => match it.packet {
            Some(packet) if packet.nsp.as_deref().unwrap_or("/") == namespace => {
                Request::Emit { event: event(packet.data, all)?, target, timeout: timeout.unwrap_or(DEFAULT_ACK_TIMEOUT) }
            }
            _ => return Ok(None),
        },
        _ => return Ok(None),
    }))
}

/// Node always says how long; who does not waits so long.
pub(super) const DEFAULT_ACK_TIMEOUT: Duration = Duration::from_secs(5);

fn old_request(it: RequestIn<'_>) -> Option<Request> {
    let socket = || it.sid.clone().map(Target::room);
    let rooms = || it.room.as_ref().and_then(|room| room.as_str()).map(|room| vec![room.to_owned()]);
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

/// The one request that is msgpack.
#[derive(Serialize)]
struct EmitOut<'a> {
    uid: &'a str,
    #[serde(rename = "requestId")]
    id: &'a str,
    r#type: u8,
    packet: PacketOut<'a>,
    opts: OptionsOut<'a>,
}

pub(super) fn request(protocol: &Protocol, namespace: &str, request: &Request, id: Option<&str>) -> Result<Publication, Unpublishable> {
    let channel = request_channel(protocol, namespace);
    let uid = protocol.uid.as_str();
    let mut out = RequestOut { uid, id, r#type: 0, opts: None, rooms: None, close: None, data: None };
    let options = |target| Some(OptionsOut::new(target, None, None));
    let data: Box<RawValue>;
    match request {
        Request::Emit { event, target, timeout } => {
            let packet = PacketOut::new(namespace, event);
            let opts = OptionsOut::new(target, Some(*timeout), None);
            let body = EmitOut { uid, id: id.unwrap_or_default(), r#type: kind::BROADCAST, packet, opts };
            return Ok(protocol.publication(channel, msgpack(&body)?));
        }
        Request::Join { target, rooms } => (out.r#type, out.opts, out.rooms) = (kind::JOIN, options(target), Some(rooms.as_slice())),
        Request::Leave { target, rooms } => (out.r#type, out.opts, out.rooms) = (kind::LEAVE, options(target), Some(rooms.as_slice())),
        Request::Disconnect { target, close } => (out.r#type, out.opts, out.close) = (kind::DISCONNECT, options(target), Some(*close)),
        Request::Sockets(target) => (out.r#type, out.opts) = (kind::FETCH, options(target)),
        Request::SocketIds(target) => (out.r#type, out.rooms) = (kind::SOCKETS, Some(target.rooms.as_slice())),
        Request::Rooms => out.r#type = kind::ALL_ROOMS,
        Request::ServerSide(event) => {
            data = raw(event)?;
            (out.r#type, out.data) = (kind::SERVER_SIDE_EMIT, Some(&*data));
        }
        Request::RoomsOf(_) | Request::Custom => return Err(Unpublishable("no member since version 6 knows this request".into())),
    }
    Ok(protocol.publication(channel, text(&out)?))
}

fn raw(json: &str) -> Result<Box<RawValue>, Unpublishable> {
    RawValue::from_string(json.to_owned()).map_err(|e| Unpublishable(e.to_string()))
}

// === answers ===

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

fn read_answer(body: &Bytes) -> Result<Received, Malformed> {
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
            (None, Some(sockets)) => match serde_json::from_str::<Vec<RemoteSocket>>(sockets.get()) {
                Ok(sockets) => Answer::Sockets(sockets),
                Err(_) => Answer::SocketIds(serde_json::from_str(sockets.get())?),
            },
            (None, None) => Answer::Done,
        },
    };
    Ok(Received::Answer { id, answer })
}

fn as_name(value: serde_json::Value) -> String {
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

pub(super) fn answer(protocol: &Protocol, namespace: &str, to: &ReplyTo, answer: &Answer) -> Result<Publication, Unpublishable> {
    let shared = response_channel(protocol, namespace);
    // Whoever says who it is (since 7.1) listens to a channel of its own, which spares the others.
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
