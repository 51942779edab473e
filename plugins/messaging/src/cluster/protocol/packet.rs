//! What members and emitters say to each other, whatever the protocol.

use crate::event::Event;
use crate::msgpack::Json;
use crate::remote_socket::RemoteSocket;
use crate::revocation::Revocation;
use crate::target::Target;
use std::time::Duration;

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
    /// Revocations of another Greyhound node, or of this one.
    Revocations(Vec<Revocation>),
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
    pub(super) id: String,
    pub(super) uid: Option<String>,
    pub(super) dialect: Dialect,
}

impl ReplyTo {
    /// The member that sent the request, if the request names it.
    pub(crate) fn uid(&self) -> Option<&str> {
        self.uid.as_deref()
    }
}

/// The generation of the request format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
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
pub(crate) struct Unpublishable(pub(super) String);
