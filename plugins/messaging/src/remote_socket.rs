//! A socket of any node, as its node describes it.

use crate::room_names::names;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A socket, as described by its node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RemoteSocket {
    /// The socket's id.
    pub id: String,
    /// The handshake: an object with `headers`, `time`, `address`, `xdomain`, `secure`, `issued` (ms), `url`,
    /// `query`, `auth`.
    #[serde(default = "empty")]
    pub handshake: Box<RawValue>,
    /// The socket's rooms.
    #[serde(default, deserialize_with = "names")]
    pub rooms: Vec<String>,
    /// The data that the program attached to the socket: an object.
    #[serde(default = "empty")]
    pub data: Box<RawValue>,
}

fn empty() -> Box<RawValue> {
    RawValue::from_string("{}".into()).expect("it is JSON")
}
