//! The protocol of socket.io-redis, `@socket.io/redis-adapter` and every emitter.
//!
//! Messages are msgpack on `<prefix>#<nsp>#` and `<prefix>#<nsp>#<room>#`. Requests and answers are mostly JSON, on
//! `<prefix>-request#<nsp>#` and `<prefix>-response#<nsp>#`.

mod answer;
mod message;
mod request;

use super::{Malformed, Protocol, Received, Unpublishable, escape};
use crate::config::SubscriptionMode;
use crate::redis::Subscription;
pub(super) use answer::answer;
use bytes::Bytes;
pub(super) use message::{PacketOut, message};
pub(super) use request::{DEFAULT_ACK_TIMEOUT, request};
use rmp_serde::encode::to_vec_named;
use serde::Serialize;
use serde_json::value::RawValue;

/// Request types since version 6.
mod kind {
    pub(super) const SOCKETS: u8 = 0;
    pub(super) const ALL_ROOMS: u8 = 1;
    pub(super) const JOIN: u8 = 2;
    pub(super) const LEAVE: u8 = 3;
    pub(super) const DISCONNECT: u8 = 4;
    pub(super) const FETCH: u8 = 5;
    pub(super) const SERVER_SIDE_EMIT: u8 = 6;
    pub(super) const BROADCAST: u8 = 7;
    pub(super) const BROADCAST_CLIENT_COUNT: u8 = 8;
    pub(super) const BROADCAST_ACK: u8 = 9;
}

pub(super) fn subscriptions(protocol: &Protocol, namespace: &str) -> Vec<Subscription> {
    let channel = protocol.channel(namespace);
    let messages = match protocol.subscription {
        SubscriptionMode::Pattern => Subscription::Pattern(format!("{}*", escape(&channel))),
        _ => Subscription::Channel(channel),
    };
    let responses = response_channel(protocol, namespace);
    let own = format!("{responses}{}#", protocol.uid);
    let rest = [request_channel(protocol, namespace), responses, own, emitter_channel(protocol)];
    rest.into_iter().map(Subscription::Channel).chain([messages]).collect()
}

pub(super) fn request_channel(protocol: &Protocol, namespace: &str) -> String {
    format!("{}-request#{namespace}#", protocol.prefix)
}

pub(super) fn response_channel(protocol: &Protocol, namespace: &str) -> String {
    format!("{}-response#{namespace}#", protocol.prefix)
}

/// The channel of emitters before 1.0. It serves all namespaces.
fn emitter_channel(protocol: &Protocol) -> String {
    format!("{}#emitter", protocol.prefix)
}

pub(super) fn read(protocol: &Protocol, channel: &str, body: &Bytes) -> Result<Received, Malformed> {
    if let Some((namespace, rest)) = protocol.split(channel, "-request#") {
        return if rest.is_empty() { request::read(protocol, namespace, body) } else { Ok(Received::NotForUs) };
    }
    if protocol.split(channel, "-response#").is_some() {
        return answer::read(body);
    }
    if channel.strip_prefix(protocol.prefix.as_str()) == Some("#emitter") {
        return message::read(protocol, None, None, body);
    }
    let (namespace, rest) = protocol.split(channel, "#").ok_or(Malformed::Channel)?;
    let room = rest.strip_suffix('#').map(str::to_owned);
    message::read(protocol, Some(namespace), room, body)
}

pub(super) fn msgpack(body: &impl Serialize) -> Result<Bytes, Unpublishable> {
    to_vec_named(body).map(Bytes::from).map_err(|e| Unpublishable(e.to_string()))
}

pub(super) fn text(body: &impl Serialize) -> Result<Bytes, Unpublishable> {
    serde_json::to_vec(body).map(Bytes::from).map_err(|e| Unpublishable(e.to_string()))
}

fn raw(json: &str) -> Result<Box<RawValue>, Unpublishable> {
    RawValue::from_string(json.to_owned()).map_err(|e| Unpublishable(e.to_string()))
}
