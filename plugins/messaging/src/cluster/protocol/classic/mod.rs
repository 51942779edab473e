//! The protocol of socket.io-redis, `@socket.io/redis-adapter` and every emitter.
//!
//! Messages are msgpack on `<prefix>#<nsp>#` and `<prefix>#<nsp>#<room>#`. Requests and answers are mostly JSON, on
//! `<prefix>-request#<nsp>#` and `<prefix>-response#<nsp>#`.

mod answer;
mod message;
mod names;
mod request;

use super::channels::{Protocol, escape};
use super::packet::{Malformed, Received};
use crate::config::SubscriptionMode;
use crate::redis::Subscription;
pub(super) use answer::answer;
use bytes::Bytes;
pub(super) use message::{PacketOut, message};
use names::emitter_channel;
pub(super) use names::{request_channel, response_channel};
pub(super) use request::{DEFAULT_ACK_TIMEOUT, request};

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
