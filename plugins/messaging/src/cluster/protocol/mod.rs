//! What the members of a cluster, and those who publish to it, say to each other.
//!
//! Two protocols carry the same: that of `@socket.io/redis-adapter` and its ancestors ([`classic`]), and that of its
//! sharded adapter ([`sharded`]).

mod classic;
mod options;
mod sharded;
#[cfg(test)]
mod tests;

use crate::config::{Mode, RedisConfig, Rooms};
use crate::event::Event;
use crate::msgpack::{Json, to_json};
use crate::redis::{Publication, Subscription};
use bytes::Bytes;
pub(crate) use options::Target;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::time::Duration;

/// The protocol of this cluster, as this node speaks it.
#[derive(Debug, Clone)]
pub(crate) struct Protocol {
    mode: Mode,
    rooms: Rooms,
    prefix: String,
    /// This node's name among the members.
    uid: String,
    /// What begins the names of the channels of probes.
    probes: String,
}

/// What came on a channel.
#[derive(Debug)]
pub(crate) enum Received {
    /// A message for clients.
    Message(Message),
    /// What another member, or an emitter, wants to be done or to know.
    Request { namespace: String, request: Request, reply_to: Option<ReplyTo> },
    /// What another member answers to the request of this id.
    Answer { id: String, answer: Answer },
    /// The proof that messages arrive.
    Probe(u64),
    /// What this node published itself, or what is not for it.
    NotForUs,
}

/// A message for clients, from elsewhere.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) source: &'static str,
    pub(crate) publisher: Option<String>,
    pub(crate) namespace: String,
    /// The room that its channel is for; who has no member there leaves it.
    pub(crate) channel_room: Option<String>,
    pub(crate) event: Event,
    pub(crate) target: Target,
    /// Its row at the Greyhound node that published it.
    pub(crate) origin: Option<String>,
}

/// What is wanted of each member of a namespace.
#[derive(Debug, Clone)]
pub(crate) enum Request {
    /// Send an event to clients and tell what they acknowledge.
    Emit(Emit),
    /// Let sockets join rooms.
    Join { target: Target, rooms: Vec<String> },
    /// Let sockets leave rooms.
    Leave { target: Target, rooms: Vec<String> },
    /// Disconnect sockets, and close their connections.
    Disconnect { target: Target, close: bool },
    /// Describe sockets.
    Sockets(Target),
    /// Name sockets.
    SocketIds(Target),
    /// Name all rooms.
    Rooms,
    /// Name the rooms of a socket, if it is here.
    RoomsOf(String),
    /// Tell the program an event: `["name",arg,...]`.
    ServerSide(String),
    /// Socket.io-redis before 6: ask the program's own hook.
    Custom,
}

/// An event that clients are to acknowledge.
#[derive(Debug, Clone)]
pub(crate) struct Emit {
    pub(crate) event: Event,
    pub(crate) target: Target,
    /// How long they may take.
    pub(crate) timeout: Duration,
    /// Its row at the Greyhound node that publishes it.
    pub(crate) origin: Option<String>,
}

/// Where an answer goes.
#[derive(Debug, Clone)]
pub(crate) struct ReplyTo {
    id: String,
    uid: Option<String>,
    dialect: Dialect,
}

impl ReplyTo {
    /// The member that asks, where it says so.
    pub(crate) fn uid(&self) -> Option<&str> {
        self.uid.as_deref()
    }
}

/// How requests are worded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// Socket.io-redis before 6: the key is `requestid`.
    Old,
    /// Since 6: the key is `requestId`.
    New,
}

/// What a member answers.
#[derive(Debug)]
pub(crate) enum Answer {
    Rooms(Vec<String>),
    Sockets(Vec<RemoteSocket>),
    SocketIds(Vec<String>),
    /// An event goes to so many clients.
    Clients(u64),
    /// A client's acknowledgement: its argument.
    Ack(Json),
    /// What the program answers to a server-side event: JSON.
    ServerSide(String),
    Done,
}

/// A socket as its node describes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RemoteSocket {
    /// Its id.
    pub id: String,
    /// How it connected: an object with `headers`, `time`, `address`, `xdomain`, `secure`, `issued` (ms), `url`,
    /// `query`, `auth`.
    #[serde(default = "empty")]
    pub handshake: Box<RawValue>,
    /// The rooms that it is in.
    #[serde(default, deserialize_with = "options::names")]
    pub rooms: Vec<String>,
    /// What the program attached to it: an object.
    #[serde(default = "empty")]
    pub data: Box<RawValue>,
}

fn empty() -> Box<RawValue> {
    RawValue::from_string("{}".into()).expect("it is JSON")
}

/// Why what came on a channel is not understood.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("it is not msgpack: {0}")]
    Msgpack(#[from] crate::msgpack::Malformed),
    #[error("it is not what is published on this channel: {0}")]
    Shape(#[from] serde_json::Error),
    #[error("it has binary data outside of the event")]
    Binary,
    #[error("nothing is published on this channel")]
    Channel,
}

/// Why something cannot be published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it cannot be published to the cluster: {0}")]
pub(crate) struct Unpublishable(String);

impl Protocol {
    pub(crate) fn new(config: &RedisConfig, uid: String) -> Self {
        let probes = format!("{}-greyhound#{uid}#", config.prefix);
        Self { mode: config.mode, rooms: config.rooms(), prefix: config.prefix.clone(), uid, probes }
    }

    /// What a member of `namespace` subscribes to, whoever is connected.
    pub(crate) fn subscriptions(&self, namespace: &str) -> Vec<Subscription> {
        match self.mode {
            Mode::Classic => classic::subscriptions(self, namespace),
            Mode::Sharded => sharded::subscriptions(self, namespace),
        }
    }

    /// What a member of `namespace` subscribes to while a socket is in `room`.
    pub(crate) fn room(&self, namespace: &str, room: &str) -> Option<Subscription> {
        let channel = || format!("{}{room}#", self.channel(namespace));
        match self.rooms {
            Rooms::Pattern | Rooms::Static => None,
            Rooms::Rooms => Some(Subscription::Channel(channel())),
            Rooms::Dynamic | Rooms::DynamicPrivate => Some(Subscription::Shard(channel())),
        }
    }

    /// Whether rooms have subscriptions of their own.
    pub(crate) fn subscribes_rooms(&self) -> bool {
        !matches!(self.rooms, Rooms::Pattern | Rooms::Static)
    }

    /// Understands what came on a channel.
    pub(crate) fn read(&self, channel: &str, body: &Bytes) -> Result<Received, Malformed> {
        if let Some(probe) = channel.strip_prefix(self.probe_prefix()) {
            let number = std::str::from_utf8(body).ok().and_then(|text| text.parse().ok());
            return Ok(number.filter(|_| !probe.contains('#')).map_or(Received::NotForUs, Received::Probe));
        }
        match self.mode {
            Mode::Classic => classic::read(self, channel, body),
            Mode::Sharded => sharded::read(self, channel, body),
        }
    }

    /// A message for the clients of the other members.
    pub(crate) fn message(
        &self,
        namespace: &str,
        event: &Event,
        target: &Target,
        origin: Option<&str>,
    ) -> Result<Publication, Unpublishable> {
        match self.mode {
            Mode::Classic => classic::message(self, namespace, event, target, origin),
            Mode::Sharded => sharded::message(self, namespace, event, target, origin),
        }
    }

    /// A request to the other members; `id` names it in the answers.
    pub(crate) fn request(
        &self,
        namespace: &str,
        request: &Request,
        id: Option<&str>,
    ) -> Result<Publication, Unpublishable> {
        match self.mode {
            Mode::Classic => classic::request(self, namespace, request, id),
            Mode::Sharded => sharded::request(self, namespace, request, id),
        }
    }

    /// An answer to the request of another member.
    pub(crate) fn answer(&self, namespace: &str, to: &ReplyTo, answer: &Answer) -> Result<Publication, Unpublishable> {
        match self.mode {
            Mode::Classic => classic::answer(self, namespace, to, answer),
            Mode::Sharded => sharded::answer(self, namespace, to, answer),
        }
    }

    /// The channel that just the members of `namespace` subscribe to, so that they can be counted.
    pub(crate) fn counted(&self, namespace: &str) -> String {
        match self.mode {
            Mode::Classic => classic::request_channel(self, namespace),
            Mode::Sharded => self.channel(namespace),
        }
    }

    /// A glob of the channels that each member has for itself, of those that understand requests in msgpack; the
    /// others crash of one.
    pub(crate) fn understanding(&self, namespace: &str) -> Option<String> {
        match self.mode {
            Mode::Classic => Some(format!("{}*#", escape(&classic::response_channel(self, namespace)))),
            Mode::Sharded => None,
        }
    }

    /// What begins the names of the channels on which this node proves to itself that messages arrive.
    pub(crate) fn probe_prefix(&self) -> &str {
        &self.probes
    }

    pub(crate) fn sharded(&self) -> bool {
        self.mode == Mode::Sharded
    }

    /// A probe.
    pub(crate) fn probe(&self, channel: String, number: u64) -> Publication {
        self.publication(channel, number.to_string().into())
    }

    /// The subscription to a channel.
    pub(crate) fn subscription(&self, channel: String) -> Subscription {
        if self.sharded() { Subscription::Shard(channel) } else { Subscription::Channel(channel) }
    }

    fn publication(&self, channel: String, body: Bytes) -> Publication {
        Publication { channel, body, sharded: self.sharded() }
    }

    /// The channel of messages to all of a namespace, with which those to a room begin.
    fn channel(&self, namespace: &str) -> String {
        format!("{}#{namespace}#", self.prefix)
    }

    /// The namespace and the rest of a channel that begins with `before`.
    fn split<'a>(&self, channel: &'a str, before: &str) -> Option<(&'a str, &'a str)> {
        channel.strip_prefix(self.prefix.as_str())?.strip_prefix(before)?.split_once('#')
    }
}

/// A name as a part of a glob that fits it alone.
fn escape(name: &str) -> String {
    let mut glob = String::with_capacity(name.len());
    for character in name.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\') {
            glob.push('\\');
        }
        glob.push(character);
    }
    glob
}

/// Bodies are JSON or msgpack: JSON text in either case.
fn json(body: &Bytes) -> Result<Json, Malformed> {
    if body.first() != Some(&b'{') {
        return Ok(to_json(body)?);
    }
    let text = String::from_utf8_lossy(body).into_owned();
    Ok(Json { text, attachments: Vec::new(), placed: Vec::new() })
}

/// The event of a packet: `data` is a part of `all`, and the only one that may have binary data.
fn event(data: &RawValue, all: &Json) -> Result<Event, Malformed> {
    let data = data.get();
    let begin = data.as_ptr().addr() - all.text.as_ptr().addr();
    if !all.placed.iter().all(|at| (begin..begin + data.len()).contains(at)) {
        return Err(Malformed::Binary);
    }
    Ok(Event::parse(data, all.attachments.clone())?)
}
