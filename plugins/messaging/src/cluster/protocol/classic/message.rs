//! Messages to clients, from members and from every generation of emitters.

use crate::cluster::protocol::body::{event, msgpack};
use crate::cluster::protocol::channels::Protocol;
use crate::cluster::protocol::options::{Options, OptionsOut};
use crate::cluster::protocol::packet::{Malformed, Message, Received, Unpublishable};
use crate::event::Event;
use crate::msgpack::{FromJson, Json, to_json};
use crate::redis::Publication;
use crate::target::Target;
use bytes::Bytes;
use serde::de::value::MapAccessDeserializer;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use std::fmt;

/// The uid of emitters.
const EMITTER_UID: &str = "emitter";

#[derive(Deserialize)]
pub(super) struct PacketIn<'a> {
    #[serde(borrow)]
    pub(super) data: &'a RawValue,
    #[serde(default)]
    pub(super) nsp: Option<String>,
}

/// `[uid, packet, options]`, or `[packet, options]` before 1.0.
struct MessageIn<'a> {
    uid: Option<String>,
    packet: PacketIn<'a>,
    options: Options,
}

/// The first element of a message.
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
                f.write_str("a list of uid, packet and options")
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
                f.write_str("a uid or a packet")
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
    // Required: a message without rooms is not meant for everybody.
    #[serde(alias = "rooms", deserialize_with = "crate::room_names::names")]
    room: Vec<String>,
    #[serde(default)]
    nsp: Option<String>,
}

pub(super) fn read(
    protocol: &Protocol,
    namespace: Option<&str>,
    channel_room: Option<String>,
    body: &Bytes,
) -> Result<Received, Malformed> {
    let all = to_json(body)?;
    if namespace.is_none() && all.text.starts_with('{') {
        return read_map(&all);
    }
    let MessageIn { uid, packet, options } = serde_json::from_str(&all.text)?;
    if uid.as_deref() == Some(protocol.uid.as_str()) {
        return Ok(Received::NotForUs);
    }
    let Some(namespace) = agreed(namespace, packet.nsp) else { return Ok(Received::NotForUs) };
    let source = match uid.as_deref() {
        _ if options.greyhound.is_some() => "greyhound",
        None => "emitter 0.x",
        Some(EMITTER_UID) if options.has_except() => "emitter 4-5",
        Some(EMITTER_UID) => "emitter 1-3",
        Some(_) => "node",
    };
    let event = event(packet.data, &all)?;
    let origin = options.greyhound.clone();
    Ok(Received::Message(Message {
        source,
        publisher: uid,
        namespace,
        channel_room,
        event,
        target: options.target(),
        origin,
    }))
}

/// The namespace of a packet, `/` by default. `None` if it is on another namespace's channel.
fn agreed(channel: Option<&str>, packet: Option<String>) -> Option<String> {
    let named = packet.filter(|nsp| !nsp.is_empty()).unwrap_or_else(|| "/".into());
    channel.is_none_or(|channel| channel == named).then_some(named)
}

fn read_map(all: &Json) -> Result<Received, Malformed> {
    let map: MapIn<'_> = serde_json::from_str(&all.text)?;
    let namespace = map.nsp.unwrap_or_else(|| "/".into());
    let mut named = event(map.data, all).ok().filter(|_| map.data.get().starts_with("[\""));
    if named.is_none() {
        // Data without an event name becomes the event `message`.
        let data = map.data.to_owned();
        named = Some(Event::new("message", &[data]).with(all.attachments.clone()));
    }
    let event = named.expect("set above");
    let target = Target { rooms: map.room, ..Target::default() };
    Ok(Received::Message(Message {
        source: "map",
        publisher: None,
        namespace,
        channel_room: None,
        event,
        target,
        origin: None,
    }))
}

#[derive(Serialize)]
pub(in crate::cluster::protocol) struct PacketOut<'a> {
    r#type: u8,
    data: FromJson<'a>,
    nsp: &'a str,
}

impl<'a> PacketOut<'a> {
    pub(in crate::cluster::protocol) fn new(namespace: &'a str, event: &'a Event) -> Self {
        // 2 is an event. If there is binary data, the receiver sends type 5 (binary event) to its clients.
        Self { r#type: 2, data: FromJson { text: &event.text, attachments: &event.attachments }, nsp: namespace }
    }
}

pub(in crate::cluster::protocol) fn message(
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
