//! Describes and disconnects the sockets of this node for other nodes and backends.

use crate::connection::CLOSE_GRACE_PERIOD;
use crate::namespace::{Namespace, Roster, Session};
use crate::remote_socket::RemoteSocket;
use crate::target::Target;

use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use socketioxide::SocketIo;
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

/// Number of sockets that are described before yielding to other tasks.
const SOCKETS_PER_TURN: usize = 256;

/// The sockets of this node.
pub(crate) struct LocalSockets {
    io: SocketIo<Namespace>,
}

/// A socket's handshake with the fields of Node's server, without credentials.
#[derive(Serialize)]
struct Handshake<'a> {
    headers: BTreeMap<&'a str, &'a str>,
    /// Node uses another format; JavaScript's `Date` parses both.
    time: String,
    address: String,
    xdomain: bool,
    secure: bool,
    /// Milliseconds since 1970.
    issued: u64,
    url: String,
    query: BTreeMap<&'a str, &'a str>,
    auth: &'a RawValue,
}

#[derive(Serialize)]
struct Data<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
}

impl LocalSockets {
    pub(crate) fn new(io: SocketIo<Namespace>) -> Self {
        Self { io }
    }

    /// Describes the sockets of a roster, without those that are just disconnecting.
    pub(crate) async fn describe(&self, namespace: &str, roster: &Roster) -> Vec<RemoteSocket> {
        let Some(sockets) = self.io.of(namespace) else { return Vec::new() };
        let mut described = Vec::with_capacity(roster.len());
        for (n, session) in roster.sessions().iter().enumerate() {
            if let Some(socket) = sockets.get_socket(session.sid) {
                described.push(description(socket.req_parts(), session));
            }
            if n % SOCKETS_PER_TURN == SOCKETS_PER_TURN - 1 {
                tokio::task::yield_now().await;
            }
        }
        described
    }

    /// Disconnects the sockets of `target`. If `close`, also closes their connections. Returns their number.
    pub(crate) fn disconnect(&self, namespace: &Namespace, target: &Target, close: bool) -> usize {
        let members = namespace.members(target);
        members.sessions().iter().for_each(|session| namespace.disconnect(session));
        if close {
            let members = members.clone();
            tokio::spawn(async move {
                // Later, so that the clients receive the disconnection: otherwise they reconnect.
                tokio::time::sleep(CLOSE_GRACE_PERIOD).await;
                members.sessions().iter().for_each(|session| session.connection().abort());
            });
        }
        members.len()
    }
}

fn description(parts: &Parts, session: &Session) -> RemoteSocket {
    let mut rooms = session.user().rooms();
    // As in Node, a socket is in the room of its own id.
    rooms.insert(0, session.sid.to_string());
    let user = session.user().name();
    let data = to_raw_value(&Data { user: user.as_deref() }).expect("a text is JSON");
    RemoteSocket { id: session.sid.to_string(), handshake: handshake(parts, session), rooms, data }
}

fn handshake(parts: &Parts, session: &Session) -> Box<RawValue> {
    let opened = SystemTime::now().checked_sub(session.age()).unwrap_or(UNIX_EPOCH);
    let query: BTreeMap<&str, &str> = parts
        .uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .filter(|(key, _)| *key != "token")
        .collect();
    let pairs: Vec<String> = query.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let nothing = to_raw_value(&BTreeMap::<&str, &str>::new()).expect("an empty object is JSON");
    let handshake = Handshake {
        headers: headers(&parts.headers),
        time: httpdate::fmt_http_date(opened),
        address: session.address().to_string(),
        xdomain: parts.headers.contains_key(header::ORIGIN),
        secure: session.connection().client.secure,
        issued: opened
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
        url: format!("{}?{}", parts.uri.path(), pairs.join("&")),
        query,
        auth: session.auth.as_deref().unwrap_or(&nothing),
    };
    to_raw_value(&handshake).expect("texts and numbers are JSON")
}

/// The headers that are text, without credentials.
fn headers(all: &HeaderMap) -> BTreeMap<&str, &str> {
    let is_public = |name: &header::HeaderName| *name != header::AUTHORIZATION && *name != header::COOKIE;
    all.iter()
        .filter(|(name, _)| is_public(name))
        .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
        .collect()
}
