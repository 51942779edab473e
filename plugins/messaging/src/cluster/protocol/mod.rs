//! The wire formats of the cluster, for its members and for emitters.
//!
//! There are two protocols for the same content: that of `@socket.io/redis-adapter` and its predecessors ([`classic`]),
//! and that of its sharded adapter ([`sharded`]).

mod classic;
mod options;
mod sharded;
#[cfg(test)]
mod tests;

use crate::config::{Mode, RedisConfig, SubscriptionMode};
use crate::event::Event;
use crate::msgpack::{Json, to_json};
use crate::redis::{Publication, Subscription};
use crate::remote_socket::RemoteSocket;
use crate::target::Target;
use bytes::Bytes;
use serde_json::value::RawValue;
use std::time::Duration;

/// The cluster's protocol, as configured on this node.
#[derive(Debug, Clone)]
pub(crate) struct Protocol {
    mode: Mode,
    subscription: SubscriptionMode,
    prefix: String,
    /// This node's id in the cluster.
    uid: String,
    /// The prefix of this node's probe channels.
    probe_prefix: String,
}

/// A decoded publication.
#[derive(Debug)]
pub(crate) enum Received {
    /// A message for clients.
    Message(Message),
    /// A request of another member or of an emitter.
    Request { namespace: String, request: Request, reply_to: Option<ReplyTo> },
    /// Another member's answer to the request with this id.
    Answer { id: String, answer: Answer },
    /// This node's own probe, which proves that messages arrive.
    Probe(u64),
    /// A publication of this node itself, or for other nodes.
    NotForUs,
}

/// A message for clients, published elsewhere.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) source: &'static str,
    pub(crate) publisher: Option<String>,
    pub(crate) namespace: String,
    /// The room of the channel. A node without members in it ignores the message.
    pub(crate) channel_room: Option<String>,
    pub(crate) event: Event,
    pub(crate) target: Target,
    /// The message's row on the Greyhound node that published it.
    pub(crate) origin: Option<String>,
}

/// A request to each member of a namespace.
#[derive(Debug, Clone)]
pub(crate) enum Request {
    /// Send an event to clients and return their acknowledgements.
    Emit(Emit),
    /// Make sockets join rooms.
    Join { target: Target, rooms: Vec<String> },
    /// Make sockets leave rooms.
    Leave { target: Target, rooms: Vec<String> },
    /// Disconnect sockets, and if `close`, close their connections.
    Disconnect { target: Target, close: bool },
    /// Describe sockets.
    Sockets(Target),
    /// List the ids of sockets.
    SocketIds(Target),
    /// List all rooms.
    Rooms,
    /// List the rooms of a socket, if it is on the member's node.
    RoomsOf(String),
    /// Pass an event to the program: `["name",arg,...]`.
    ServerSide(String),
    /// Call the program's own hook (socket.io-redis before 6).
    Custom,
}

/// An event for clients to acknowledge.
#[derive(Debug, Clone)]
pub(crate) struct Emit {
    pub(crate) event: Event,
    pub(crate) target: Target,
    /// How long clients may take to acknowledge.
    pub(crate) timeout: Duration,
    /// The message's row on the Greyhound node that publishes it.
    pub(crate) origin: Option<String>,
}

/// Where to send the answer to a request.
#[derive(Debug, Clone)]
pub(crate) struct ReplyTo {
    id: String,
    uid: Option<String>,
    dialect: Dialect,
}

impl ReplyTo {
    /// The member that sent the request, if the request names it.
    pub(crate) fn uid(&self) -> Option<&str> {
        self.uid.as_deref()
    }
}

/// The generation of the request format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// socket.io-redis before 6, with the key `requestid`.
    Old,
    /// Since 6, with the key `requestId`.
    New,
}

/// A member's answer.
#[derive(Debug)]
pub(crate) enum Answer {
    Rooms(Vec<String>),
    Sockets(Vec<RemoteSocket>),
    SocketIds(Vec<String>),
    /// The number of clients that the event is sent to.
    Clients(u64),
    /// The argument of a client's acknowledgement.
    Ack(Json),
    /// The program's JSON answer to a server-side event.
    ServerSide(String),
    Done,
}

/// Why a publication cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("it is not msgpack: {0}")]
    Msgpack(#[from] crate::msgpack::Malformed),
    #[error("it has an unexpected structure: {0}")]
    Shape(#[from] serde_json::Error),
    #[error("it has binary data outside the event")]
    Binary,
    #[error("the channel is unknown")]
    Channel,
}

/// Why a message, request or answer cannot be published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it cannot be published to the cluster: {0}")]
pub(crate) struct Unpublishable(String);

impl Protocol {
    pub(crate) fn new(config: &RedisConfig, uid: String) -> Self {
        let probe_prefix = format!("{}-greyhound#{uid}#", config.prefix);
        Self {
            mode: config.mode,
            subscription: config.subscription_mode(),
            prefix: config.prefix.clone(),
            uid,
            probe_prefix,
        }
    }

    /// The permanent subscriptions of a member of `namespace`.
    pub(crate) fn subscriptions(&self, namespace: &str) -> Vec<Subscription> {
        match self.mode {
            Mode::Classic => classic::subscriptions(self, namespace),
            Mode::Sharded => sharded::subscriptions(self, namespace),
        }
    }

    /// The additional subscription of a member of `namespace` while a socket is in `room`.
    pub(crate) fn room(&self, namespace: &str, room: &str) -> Option<Subscription> {
        let channel = || format!("{}{room}#", self.channel(namespace));
        match self.subscription {
            SubscriptionMode::Pattern | SubscriptionMode::Static => None,
            SubscriptionMode::Rooms => Some(Subscription::Channel(channel())),
            SubscriptionMode::Dynamic | SubscriptionMode::DynamicPrivate => Some(Subscription::Shard(channel())),
        }
    }

    /// Whether rooms have their own subscriptions.
    pub(crate) fn subscribes_rooms(&self) -> bool {
        self.subscription.subscribes_rooms()
    }

    /// Decodes a publication.
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

    /// Encodes a message to the other members' clients.
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

    /// Encodes a request to the other members. The answers repeat `id`.
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

    /// Encodes an answer to another member's request.
    pub(crate) fn answer(&self, namespace: &str, to: &ReplyTo, answer: &Answer) -> Result<Publication, Unpublishable> {
        match self.mode {
            Mode::Classic => classic::answer(self, namespace, to, answer),
            Mode::Sharded => sharded::answer(self, namespace, to, answer),
        }
    }

    /// The channel whose subscribers are exactly the members of `namespace`, for counting them.
    pub(crate) fn counted(&self, namespace: &str) -> String {
        match self.mode {
            Mode::Classic => classic::request_channel(self, namespace),
            Mode::Sharded => self.channel(namespace),
        }
    }

    /// A glob for the channels of the members that understand requests in msgpack: each of them has its own channel.
    /// Older versions have none, and crash on such requests.
    pub(crate) fn understanding(&self, namespace: &str) -> Option<String> {
        match self.mode {
            Mode::Classic => Some(format!("{}*#", escape(&classic::response_channel(self, namespace)))),
            Mode::Sharded => None,
        }
    }

    /// The prefix of the channels on which this node checks that messages arrive.
    pub(crate) fn probe_prefix(&self) -> &str {
        &self.probe_prefix
    }

    pub(crate) fn sharded(&self) -> bool {
        self.mode == Mode::Sharded
    }

    /// Encodes a probe.
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

    /// The channel for messages to everybody in a namespace. The channel of a room begins with it.
    fn channel(&self, namespace: &str) -> String {
        format!("{}#{namespace}#", self.prefix)
    }

    /// The namespace and the rest of a channel, after the cluster's prefix and `kind`.
    fn split<'a>(&self, channel: &'a str, kind: &str) -> Option<(&'a str, &'a str)> {
        channel.strip_prefix(self.prefix.as_str())?.strip_prefix(kind)?.split_once('#')
    }
}

/// Escapes a name for a glob.
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

/// Returns a body's JSON text. The body is JSON or msgpack.
fn json(body: &Bytes) -> Result<Json, Malformed> {
    if body.first() != Some(&b'{') {
        return Ok(to_json(body)?);
    }
    let text = String::from_utf8_lossy(body).into_owned();
    Ok(Json { text, attachments: Vec::new(), placed: Vec::new() })
}

/// Parses the event of a packet. `data` is the part of `all` that may contain binary data; no other part may.
fn event(data: &RawValue, all: &Json) -> Result<Event, Malformed> {
    let data = data.get();
    let begin = data.as_ptr().addr() - all.text.as_ptr().addr();
    if !all.placed.iter().all(|at| (begin..begin + data.len()).contains(at)) {
        return Err(Malformed::Binary);
    }
    Ok(Event::parse(data, all.attachments.clone())?)
}
