//! The names of channels, and the numbers of requests.

use crate::cluster::protocol::channels::Protocol;

/// Request types since version 6.
pub(super) mod kind {
    pub(in crate::cluster::protocol::classic) const SOCKETS: u8 = 0;
    pub(in crate::cluster::protocol::classic) const ALL_ROOMS: u8 = 1;
    pub(in crate::cluster::protocol::classic) const JOIN: u8 = 2;
    pub(in crate::cluster::protocol::classic) const LEAVE: u8 = 3;
    pub(in crate::cluster::protocol::classic) const DISCONNECT: u8 = 4;
    pub(in crate::cluster::protocol::classic) const FETCH: u8 = 5;
    pub(in crate::cluster::protocol::classic) const SERVER_SIDE_EMIT: u8 = 6;
    pub(in crate::cluster::protocol::classic) const BROADCAST: u8 = 7;
    pub(in crate::cluster::protocol::classic) const BROADCAST_CLIENT_COUNT: u8 = 8;
    pub(in crate::cluster::protocol::classic) const BROADCAST_ACK: u8 = 9;
}

pub(in crate::cluster::protocol) fn request_channel(protocol: &Protocol, namespace: &str) -> String {
    format!("{}-request#{namespace}#", protocol.prefix)
}

pub(in crate::cluster::protocol) fn response_channel(protocol: &Protocol, namespace: &str) -> String {
    format!("{}-response#{namespace}#", protocol.prefix)
}

/// The channel of emitters before 1.0. It serves all namespaces.
pub(in crate::cluster::protocol) fn emitter_channel(protocol: &Protocol) -> String {
    format!("{}#emitter", protocol.prefix)
}
