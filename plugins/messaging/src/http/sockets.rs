//! What is connected, on all nodes: `sockets`, `rooms`, `nodes`; `join`, `leave`, `disconnect`.

use super::{Backend, Reached, Refusal, bad_query, limit, read, root, to};
use crate::cluster::Gathered;
use crate::cluster::protocol::RemoteSocket;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What to ask about: `room` and `except` may be there several times.
type Pairs = Result<Query<Vec<(String, String)>>, QueryRejection>;

/// The sockets.
#[derive(Serialize)]
pub(super) struct Sockets {
    sockets: Vec<Socket>,
    /// Whether all nodes answered.
    complete: bool,
}

/// A socket.
#[derive(Serialize)]
struct Socket {
    id: String,
    /// Whose it is: the name in its room `user(...)`.
    user: Option<String>,
    rooms: Vec<String>,
    /// How it connected.
    handshake: Box<RawValue>,
    /// What the program attached to it.
    data: Box<RawValue>,
    /// Whether it is on this node.
    local: bool,
}

/// The rooms.
#[derive(Serialize)]
pub(super) struct Rooms {
    rooms: Vec<String>,
    /// Whether all nodes answered.
    complete: bool,
}

/// The nodes.
#[derive(Serialize)]
pub(super) struct Nodes {
    /// How many there are.
    nodes: usize,
}

/// Which sockets are to change.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Chosen {
    /// Those in any of these rooms; empty: all of the namespace.
    #[serde(default)]
    rooms: Vec<String>,
    /// But none that is in one of these.
    #[serde(default)]
    except: Vec<String>,
    #[serde(default = "root")]
    namespace: String,
    /// The rooms to join or to leave.
    targets: Vec<String>,
}

/// Which sockets are to be disconnected.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dismissed {
    #[serde(default)]
    rooms: Vec<String>,
    #[serde(default)]
    except: Vec<String>,
    #[serde(default = "root")]
    namespace: String,
    /// Whether their connections are closed as well.
    #[serde(default)]
    close: bool,
}

/// It is done here.
#[derive(Serialize)]
pub(super) struct Done {
    /// Whether the other nodes were told.
    cluster: Reached,
}

pub(super) async fn sockets(State(backend): State<Backend>, query: Pairs) -> Result<Json<Sockets>, Refusal> {
    let Asked { namespace, rooms, except } = Asked::new(query, &["room", "except"])?;
    let (local, Gathered { items: remote, complete }) = backend.emitter.sockets(to(&namespace, &rooms, &except)?).await?;
    let socket = |local: bool| move |socket| Socket::new(socket, local);
    let sockets = local.into_iter().map(socket(true)).chain(remote.into_iter().map(socket(false))).collect();
    Ok(Json(Sockets { sockets, complete }))
}

pub(super) async fn rooms(State(backend): State<Backend>, query: Pairs) -> Result<Json<Rooms>, Refusal> {
    let Gathered { items, complete } = backend.emitter.rooms(&Asked::new(query, &[])?.namespace).await?;
    Ok(Json(Rooms { rooms: items, complete }))
}

pub(super) async fn nodes(State(backend): State<Backend>, query: Pairs) -> Result<Json<Nodes>, Refusal> {
    let nodes = backend.emitter.nodes(&Asked::new(query, &[])?.namespace).await?;
    let nodes = nodes.map_err(|why| Refusal(StatusCode::SERVICE_UNAVAILABLE, why.to_string()))?;
    Ok(Json(Nodes { nodes }))
}

pub(super) async fn join(State(backend): State<Backend>, body: Result<Bytes, BytesRejection>) -> Result<Json<Done>, Refusal> {
    let Chosen { rooms, except, namespace, targets } = read(body, "a choice of sockets and rooms")?;
    limit("targets", &targets)?;
    let done = backend.emitter.join(to(&namespace, &rooms, &except)?, &targets).await?;
    Ok(Json(Done { cluster: Reached::new(done) }))
}

pub(super) async fn leave(State(backend): State<Backend>, body: Result<Bytes, BytesRejection>) -> Result<Json<Done>, Refusal> {
    let Chosen { rooms, except, namespace, targets } = read(body, "a choice of sockets and rooms")?;
    limit("targets", &targets)?;
    let done = backend.emitter.leave(to(&namespace, &rooms, &except)?, &targets).await?;
    Ok(Json(Done { cluster: Reached::new(done) }))
}

pub(super) async fn disconnect(State(backend): State<Backend>, body: Result<Bytes, BytesRejection>) -> Result<Json<Done>, Refusal> {
    let Dismissed { rooms, except, namespace, close } = read(body, "a choice of sockets")?;
    let done = backend.emitter.disconnect(to(&namespace, &rooms, &except)?, close).await?;
    Ok(Json(Done { cluster: Reached::new(done) }))
}

/// What a query asks about.
struct Asked {
    namespace: String,
    rooms: Vec<String>,
    except: Vec<String>,
}

impl Asked {
    /// `known` are the keys that there may be beside `namespace`.
    fn new(query: Pairs, known: &[&str]) -> Result<Self, Refusal> {
        let mut asked = Self { namespace: root(), rooms: Vec::new(), except: Vec::new() };
        for (key, value) in query.map_err(bad_query)?.0 {
            match key.as_str() {
                "namespace" => asked.namespace = value,
                "room" if known.contains(&"room") => asked.rooms.push(value),
                "except" if known.contains(&"except") => asked.except.push(value),
                _ => {
                    let known = [&["namespace"], known].concat().join(", ");
                    return Err(Refusal::bad(format!("`{key}`: no such parameter; there are: {known}")));
                }
            }
        }
        Ok(asked)
    }
}

impl Socket {
    fn new(RemoteSocket { id, handshake, rooms, data }: RemoteSocket, local: bool) -> Self {
        let user = rooms.iter().find_map(|room| room.strip_prefix("user(")?.strip_suffix(')')).map(str::to_owned);
        Self { id, user, rooms, handshake, data, local }
    }
}
