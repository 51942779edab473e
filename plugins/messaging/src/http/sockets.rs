//! Lists and changes sockets and rooms on all nodes: `sockets`, `rooms`, `nodes`, `join`, `leave`, `disconnect`.

use super::shared::{Reached, Refusal, bad_query, limit, read, root, to};
use crate::cluster::Gathered;
use crate::emitter::{Emitter, SocketsChanged};
use crate::remote_socket::RemoteSocket;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::response::Json;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

type QueryOf<T> = Result<Query<T>, QueryRejection>;
/// The query of `sockets`, in which `room` and `except` may be repeated.
type Pairs = QueryOf<Vec<(String, String)>>;
type Body = Result<Bytes, BytesRejection>;

/// The sockets.
#[derive(Serialize, ToSchema)]
pub(super) struct Sockets {
    /// The matching sockets of all nodes that answered.
    sockets: Vec<Socket>,
    /// Whether all nodes answered.
    complete: bool,
}

/// A socket.
#[derive(Serialize, ToSchema)]
struct Socket {
    /// The socket's id. It is also the name of a room that contains only this socket.
    id: String,
    /// The user's id, from the room `user(...)`. Null if the socket is in no such room.
    #[schema(required)]
    user: Option<String>,
    /// The socket's rooms.
    rooms: Vec<String>,
    /// The handshake as the socket's node describes it: any JSON.
    #[schema(value_type = serde_json::Value)]
    handshake: Box<RawValue>,
    /// The data that the program attached to the socket: any JSON.
    #[schema(value_type = serde_json::Value)]
    data: Box<RawValue>,
    /// Whether the socket is on this node.
    local: bool,
}

/// The rooms.
#[derive(Serialize, ToSchema)]
pub(super) struct Rooms {
    /// The names of the rooms in alphabetical order, including the ids of the sockets.
    rooms: Vec<String>,
    /// Whether all nodes answered.
    complete: bool,
}

/// The nodes.
#[derive(Serialize, ToSchema)]
pub(super) struct Nodes {
    /// The number of nodes, including this one.
    nodes: usize,
}

/// The sockets to change, and the rooms to join or leave.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RoomChange {
    /// Change the sockets in any of these rooms. If empty, all sockets of the namespace.
    #[serde(default)]
    #[schema(default = json!([]), max_items = 1000)]
    rooms: Vec<String>,
    /// Leave out the sockets in any of these rooms.
    #[serde(default)]
    #[schema(default = json!([]), max_items = 1000)]
    except: Vec<String>,
    /// The namespace.
    #[serde(default = "root")]
    #[schema(default = root)]
    namespace: String,
    /// The rooms to join or leave.
    #[schema(max_items = 1000)]
    targets: Vec<String>,
}

/// The sockets to disconnect.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Disconnection {
    /// Disconnect the sockets in any of these rooms. If empty, all sockets of the namespace, provided that `everybody`
    /// is true.
    #[serde(default)]
    #[schema(default = json!([]), max_items = 1000)]
    rooms: Vec<String>,
    /// Whether to disconnect all sockets of the namespace. Must be true if `rooms` is empty, and false otherwise.
    #[serde(default)]
    #[schema(default = false)]
    everybody: bool,
    /// Leave out the sockets in any of these rooms.
    #[serde(default)]
    #[schema(default = json!([]), max_items = 1000)]
    except: Vec<String>,
    /// The namespace.
    #[serde(default = "root")]
    #[schema(default = root)]
    namespace: String,
    /// Whether to close the sockets' connections as well.
    #[serde(default)]
    #[schema(default = false)]
    close: bool,
}

/// The result of a change.
#[derive(Serialize, ToSchema)]
pub(super) struct Changed {
    /// The number of sockets of this node that matched. The other nodes do not report theirs.
    local_sockets: usize,
    /// Whether the request was published to the other nodes.
    cluster: Reached,
}

/// Lists the sockets on all nodes.
///
/// Without `room`, it lists all sockets of the namespace. If a node does not answer within 5 s, its sockets are missing
/// and `complete` is false.
#[utoipa::path(get, path = "/sockets", params(SocketsQuery), responses((status = 200, description = "The sockets.", body = Sockets)))]
pub(super) async fn sockets(State(emitter): State<Emitter>, query: Pairs) -> Result<Json<Sockets>, Refusal> {
    let SocketsQuery { namespace, rooms, except } = SocketsQuery::new(query)?;
    let (local, Gathered { items: remote, complete }) = emitter.sockets(to(&namespace, &rooms, &except)?).await?;
    let socket = |local: bool| move |socket| Socket::new(socket, local);
    let sockets = local.into_iter().map(socket(true)).chain(remote.into_iter().map(socket(false))).collect();
    Ok(Json(Sockets { sockets, complete }))
}

/// Lists the rooms on all nodes.
///
/// If a node does not answer within 5 s, its rooms are missing and `complete` is false.
#[utoipa::path(get, path = "/rooms", params(NamespaceQuery), responses((status = 200, description = "The rooms.", body = Rooms)))]
pub(super) async fn rooms(
    State(emitter): State<Emitter>,
    query: QueryOf<NamespaceQuery>,
) -> Result<Json<Rooms>, Refusal> {
    let Gathered { items, complete } = emitter.rooms(&query.map_err(bad_query)?.namespace).await?;
    Ok(Json(Rooms { rooms: items, complete }))
}

/// Counts the nodes.
///
/// Without Redis, the number is 1. If Redis is unavailable, the status is 503.
#[utoipa::path(get, path = "/nodes", params(NamespaceQuery), responses((status = 200, description = "The nodes.", body = Nodes)))]
pub(super) async fn nodes(
    State(emitter): State<Emitter>,
    query: QueryOf<NamespaceQuery>,
) -> Result<Json<Nodes>, Refusal> {
    let nodes = emitter.nodes(&query.map_err(bad_query)?.namespace).await?;
    Ok(Json(Nodes { nodes }))
}

/// Makes sockets on all nodes join rooms.
#[utoipa::path(
    post,
    path = "/join",
    request_body(content = RoomChange, example = json!({ "rooms": ["user(1)"], "targets": ["vip", "news"] })),
    responses((status = 200, description = "The sockets of this node have joined.", body = Changed))
)]
pub(super) async fn join(State(emitter): State<Emitter>, body: Body) -> Result<Json<Changed>, Refusal> {
    let RoomChange { rooms, except, namespace, targets } = RoomChange::read(body)?;
    Ok(Changed::json(emitter.join(to(&namespace, &rooms, &except)?, &targets).await?))
}

/// Makes sockets on all nodes leave rooms.
#[utoipa::path(
    post,
    path = "/leave",
    request_body(content = RoomChange, example = json!({ "rooms": ["vip"], "except": ["user(1)"], "targets": ["vip"] })),
    responses((status = 200, description = "The sockets of this node have left.", body = Changed))
)]
pub(super) async fn leave(State(emitter): State<Emitter>, body: Body) -> Result<Json<Changed>, Refusal> {
    let RoomChange { rooms, except, namespace, targets } = RoomChange::read(body)?;
    Ok(Changed::json(emitter.leave(to(&namespace, &rooms, &except)?, &targets).await?))
}

/// Disconnects sockets on all nodes from the namespace.
#[utoipa::path(
    post,
    path = "/disconnect",
    request_body(content = Disconnection, examples(
        ("a user" = (value = json!({ "rooms": ["user(1)"], "close": true }))),
        ("everybody except one user" = (value = json!({ "everybody": true, "except": ["user(1)"] })))
    )),
    responses((status = 200, description = "The sockets of this node are disconnected.", body = Changed))
)]
pub(super) async fn disconnect(State(emitter): State<Emitter>, body: Body) -> Result<Json<Changed>, Refusal> {
    let Disconnection { rooms, everybody, except, namespace, close } = read(body, "a choice of sockets")?;
    match (rooms.is_empty(), everybody) {
        (true, false) => {
            return Err(Refusal::bad(
                "`rooms` is empty: set `\"everybody\": true` to disconnect all sockets of the namespace",
            ));
        }
        (false, true) => {
            return Err(Refusal::bad("`everybody` is true, but `rooms` is not empty: expected only one of the two"));
        }
        _ => {}
    }
    Ok(Changed::json(emitter.disconnect(to(&namespace, &rooms, &except)?, close).await?))
}

/// The query of `rooms` and `nodes`.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct NamespaceQuery {
    /// The namespace.
    #[serde(default = "root")]
    #[param(default = root, example = "/")]
    namespace: String,
}

/// The query of `sockets`.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
struct SocketsQuery {
    /// The namespace.
    #[param(required = false, default = root, example = "/")]
    namespace: String,
    /// List the sockets in any of these rooms: `?room=a&room=b`. Without it, all sockets of the namespace.
    #[param(rename = "room", required = false, style = Form, explode, max_items = 1000, example = json!(["user(1)", "site(example.com)"]))]
    rooms: Vec<String>,
    /// Leave out the sockets in any of these rooms: `?except=a&except=b`.
    #[param(required = false, style = Form, explode, max_items = 1000, example = json!(["user(2)"]))]
    except: Vec<String>,
}

impl RoomChange {
    fn read(body: Body) -> Result<Self, Refusal> {
        let change: Self = read(body, "a choice of sockets and rooms")?;
        limit("targets", &change.targets)?;
        Ok(change)
    }
}

impl Changed {
    fn json(changed: SocketsChanged) -> Json<Self> {
        Json(Self { local_sockets: changed.here, cluster: Reached::new(changed.cluster) })
    }
}

impl SocketsQuery {
    fn new(query: Pairs) -> Result<Self, Refusal> {
        let (mut namespace, mut rooms, mut except) = (None, Vec::new(), Vec::new());
        for (key, value) in query.map_err(bad_query)?.0 {
            match key.as_str() {
                "room" => rooms.push(value),
                "except" => except.push(value),
                "namespace" if namespace.is_none() => namespace = Some(value),
                "namespace" => return Err(Refusal::bad("`namespace`: expected only once")),
                _ => {
                    return Err(Refusal::bad(format!(
                        "`{key}`: unknown parameter, expected one of namespace, room, except"
                    )));
                }
            }
        }
        Ok(Self { namespace: namespace.unwrap_or_else(root), rooms, except })
    }
}

impl Socket {
    fn new(RemoteSocket { id, handshake, rooms, data }: RemoteSocket, local: bool) -> Self {
        let user = rooms.iter().find_map(|room| room.strip_prefix("user(")?.strip_suffix(')')).map(str::to_owned);
        Self { id, user, rooms, handshake, data, local }
    }
}
