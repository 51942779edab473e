//! The names of channels, and the numbers of requests.

use crate::cluster::protocol::channels::Channels;

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

pub(in crate::cluster::protocol) fn request_channel(channels: &Channels, namespace: &str) -> String {
    format!("{}-request#{namespace}#", channels.prefix)
}

pub(in crate::cluster::protocol) fn response_channel(channels: &Channels, namespace: &str) -> String {
    format!("{}-response#{namespace}#", channels.prefix)
}

/// The channel of emitters before 1.0. It serves all namespaces.
pub(in crate::cluster::protocol) fn emitter_channel(channels: &Channels) -> String {
    format!("{}#emitter", channels.prefix)
}
