//! What is connected, on all nodes: `sockets`, `rooms`, `nodes`; `join`, `leave`, `disconnect`.

use super::{Reached, Refusal, bad_query, limit, read, root, to};
use crate::cluster::Gathered;
use crate::cluster::protocol::RemoteSocket;
use crate::emit::{Emitter, Touched};
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

/// A query. In that of `sockets`, `room` and `except` may be there several times.
type Asking<T> = Result<Query<T>, QueryRejection>;
type Pairs = Asking<Vec<(String, String)>>;
type Body = Result<Bytes, BytesRejection>;

/// The sockets.
#[derive(Serialize, ToSchema)]
pub(super) struct Sockets {
    /// Those that were asked about, of all nodes that answered.
    sockets: Vec<Socket>,
    /// Whether all nodes answered.
    complete: bool,
}

/// A socket.
#[derive(Serialize, ToSchema)]
struct Socket {
    /// Its id, which is also the name of a room that it is alone in.
    id: String,
    /// Whose it is: the name in its room `user(...)`; null where it is in none.
    #[schema(required)]
    user: Option<String>,
    /// The rooms that it is in.
    rooms: Vec<String>,
    /// How it connected, in the words of the node that it is connected to: any JSON.
    #[schema(value_type = serde_json::Value)]
    handshake: Box<RawValue>,
    /// What the program attached to it: any JSON.
    #[schema(value_type = serde_json::Value)]
    data: Box<RawValue>,
    /// Whether it is on this node.
    local: bool,
}

/// The rooms.
#[derive(Serialize, ToSchema)]
pub(super) struct Rooms {
    /// Their names, in alphabetical order; the ids of the sockets are among them.
    rooms: Vec<String>,
    /// Whether all nodes answered.
    complete: bool,
}

/// The nodes.
#[derive(Serialize, ToSchema)]
pub(super) struct Nodes {
    /// How many there are, this one included.
    nodes: usize,
}

/// Which sockets are to change.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Chosen {
    /// Those in any of these rooms; empty: all of the namespace.
    #[serde(default)]
    #[schema(default = json!([]), max_items = 1000)]
    rooms: Vec<String>,
    /// But none that is in one of these.
    #[serde(default)]
    #[schema(default = json!([]), max_items = 1000)]
    except: Vec<String>,
    /// The namespace.
    #[serde(default = "root")]
    #[schema(default = root)]
    namespace: String,
    /// The rooms to join or to leave.
    #[schema(max_items = 1000)]
    targets: Vec<String>,
}

/// Which sockets are to be disconnected.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Dismissed {
    /// Those in any of these rooms; empty: all of the namespace, which `everybody` has to confirm.
    #[serde(default)]
    #[schema(default = json!([]), max_items = 1000)]
    rooms: Vec<String>,
    /// That all sockets of the namespace are meant: true if `rooms` is empty, and only then.
    #[serde(default)]
    #[schema(default = false)]
    everybody: bool,
    /// But none that is in one of these.
    #[serde(default)]
    #[schema(default = json!([]), max_items = 1000)]
    except: Vec<String>,
    /// The namespace.
    #[serde(default = "root")]
    #[schema(default = root)]
    namespace: String,
    /// Whether their connections are closed as well.
    #[serde(default)]
    #[schema(default = false)]
    close: bool,
}

/// It is done on this node.
#[derive(Serialize, ToSchema)]
pub(super) struct Done {
    /// How many sockets of this node it was done to. How many of other nodes is not known.
    local_sockets: usize,
    /// Whether the other nodes were told.
    cluster: Reached,
}

/// Tells which sockets there are, on all nodes.
///
/// Without `room`: all of the namespace. Nodes that do not answer within 5 s are left out, and `complete` is false.
#[utoipa::path(get, path = "/sockets", params(Asked), responses((status = 200, description = "The sockets.", body = Sockets)))]
pub(super) async fn sockets(State(emitter): State<Emitter>, query: Pairs) -> Result<Json<Sockets>, Refusal> {
    let Asked { namespace, rooms, except } = Asked::new(query)?;
    let (local, Gathered { items: remote, complete }) = emitter.sockets(to(&namespace, &rooms, &except)?).await?;
    let socket = |local: bool| move |socket| Socket::new(socket, local);
    let sockets = local.into_iter().map(socket(true)).chain(remote.into_iter().map(socket(false))).collect();
    Ok(Json(Sockets { sockets, complete }))
}

/// Tells which rooms there are, on all nodes.
///
/// Nodes that do not answer within 5 s are left out, and `complete` is false.
#[utoipa::path(get, path = "/rooms", params(Within), responses((status = 200, description = "The rooms.", body = Rooms)))]
pub(super) async fn rooms(State(emitter): State<Emitter>, query: Asking<Within>) -> Result<Json<Rooms>, Refusal> {
    let Gathered { items, complete } = emitter.rooms(&query.map_err(bad_query)?.namespace).await?;
    Ok(Json(Rooms { rooms: items, complete }))
}

/// Tells how many nodes there are.
///
/// 1 where no Redis is configured; 503 where Redis cannot be asked.
#[utoipa::path(get, path = "/nodes", params(Within), responses((status = 200, description = "The nodes.", body = Nodes)))]
pub(super) async fn nodes(State(emitter): State<Emitter>, query: Asking<Within>) -> Result<Json<Nodes>, Refusal> {
    let nodes = emitter.nodes(&query.map_err(bad_query)?.namespace).await?;
    let nodes = nodes.map_err(|why| Refusal(StatusCode::SERVICE_UNAVAILABLE, why.to_string()))?;
    Ok(Json(Nodes { nodes }))
}

/// Lets sockets join rooms, on all nodes.
#[utoipa::path(
    post,
    path = "/join",
    request_body(content = Chosen, example = json!({ "rooms": ["user(1)"], "targets": ["vip", "news"] })),
    responses((status = 200, description = "Those of this node are in.", body = Done))
)]
pub(super) async fn join(State(emitter): State<Emitter>, body: Body) -> Result<Json<Done>, Refusal> {
    let Chosen { rooms, except, namespace, targets } = Chosen::read(body)?;
    Ok(Done::json(emitter.join(to(&namespace, &rooms, &except)?, &targets).await?))
}

/// Lets sockets leave rooms, on all nodes.
#[utoipa::path(
    post,
    path = "/leave",
    request_body(content = Chosen, example = json!({ "rooms": ["vip"], "except": ["user(1)"], "targets": ["vip"] })),
    responses((status = 200, description = "Those of this node are out.", body = Done))
)]
pub(super) async fn leave(State(emitter): State<Emitter>, body: Body) -> Result<Json<Done>, Refusal> {
    let Chosen { rooms, except, namespace, targets } = Chosen::read(body)?;
    Ok(Done::json(emitter.leave(to(&namespace, &rooms, &except)?, &targets).await?))
}

/// Disconnects sockets from the namespace, on all nodes.
///
/// Without `rooms`, all of them, if `everybody` is true.
#[utoipa::path(
    post,
    path = "/disconnect",
    request_body(content = Dismissed, examples(
        ("a user" = (value = json!({ "rooms": ["user(1)"], "close": true }))),
        ("everybody but a user" = (value = json!({ "everybody": true, "except": ["user(1)"] })))
    )),
    responses((status = 200, description = "Those of this node are disconnected.", body = Done))
)]
pub(super) async fn disconnect(State(emitter): State<Emitter>, body: Body) -> Result<Json<Done>, Refusal> {
    let Dismissed { rooms, everybody, except, namespace, close } = read(body, "a choice of sockets")?;
    match (rooms.is_empty(), everybody) {
        (true, false) => {
            return Err(Refusal::bad(
                "`rooms` names none: expected `\"everybody\": true` to disconnect all sockets of the namespace",
            ));
        }
        (false, true) => {
            return Err(Refusal::bad("`everybody` is true and `rooms` names some: expected one of the two"));
        }
        _ => {}
    }
    Ok(Done::json(emitter.disconnect(to(&namespace, &rooms, &except)?, close).await?))
}

/// The namespace that a query asks about.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Within {
    /// The namespace.
    #[serde(default = "root")]
    #[param(default = root, example = "/")]
    namespace: String,
}

/// The sockets that a query asks about.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// The namespace.
    #[param(required = false, default = root, example = "/")]
    namespace: String,
    /// Those in any of these rooms, `?room=a&room=b`; none: all of the namespace.
    #[param(rename = "room", required = false, style = Form, explode, max_items = 1000, example = json!(["user(1)", "site(example.com)"]))]
    rooms: Vec<String>,
    /// But none that is in one of these, `?except=a&except=b`.
    #[param(required = false, style = Form, explode, max_items = 1000, example = json!(["user(2)"]))]
    except: Vec<String>,
}

impl Chosen {
    fn read(body: Body) -> Result<Self, Refusal> {
        let chosen: Self = read(body, "a choice of sockets and rooms")?;
        limit("targets", &chosen.targets)?;
        Ok(chosen)
    }
}

impl Done {
    fn json(touched: Touched) -> Json<Self> {
        Json(Self { local_sockets: touched.here, cluster: Reached::new(touched.cluster) })
    }
}

impl Asked {
    fn new(query: Pairs) -> Result<Self, Refusal> {
        let (mut namespace, mut rooms, mut except) = (None, Vec::new(), Vec::new());
        for (key, value) in query.map_err(bad_query)?.0 {
            match key.as_str() {
                "room" => rooms.push(value),
                "except" => except.push(value),
                "namespace" if namespace.is_none() => namespace = Some(value),
                "namespace" => return Err(Refusal::bad("`namespace`: expected once")),
                _ => {
                    return Err(Refusal::bad(format!(
                        "`{key}`: no such parameter; there are: namespace, room, except"
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
