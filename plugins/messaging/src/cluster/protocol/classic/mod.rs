//! The protocol of socket.io-redis, `@socket.io/redis-adapter` and every emitter.
//!
//! Messages are msgpack on `<prefix>#<nsp>#` and `<prefix>#<nsp>#<room>#`. Requests and answers are mostly JSON, on
//! `<prefix>-request#<nsp>#` and `<prefix>-response#<nsp>#`.

mod answer;
mod message;
mod names;
mod request;

use super::channels::{Channels, escape};
use super::packet::{Malformed, Received};
use crate::config::SubscriptionMode;
use crate::redis::Subscription;
pub(super) use answer::answer;
use bytes::Bytes;
pub(super) use message::{PacketOut, message};
use names::emitter_channel;
pub(super) use names::{request_channel, response_channel};
pub(super) use request::{DEFAULT_ACK_TIMEOUT, request};

pub(super) fn subscriptions(channels: &Channels, namespace: &str) -> Vec<Subscription> {
    let channel = channels.channel(namespace);
    let messages = match channels.subscription {
        SubscriptionMode::Pattern => Subscription::Pattern(format!("{}*", escape(&channel))),
        _ => Subscription::Channel(channel),
    };
    let responses = response_channel(channels, namespace);
    let own = format!("{responses}{}#", channels.uid);
    let rest = [request_channel(channels, namespace), responses, own, emitter_channel(channels)];
    rest.into_iter().map(Subscription::Channel).chain([messages]).collect()
}

pub(super) fn read(channels: &Channels, channel: &str, body: &Bytes) -> Result<Received, Malformed> {
    if let Some((namespace, rest)) = channels.split(channel, "-request#") {
        return if rest.is_empty() { request::read(channels, namespace, body) } else { Ok(Received::NotForUs) };
    }
    if channels.split(channel, "-response#").is_some() {
        return answer::read(body);
    }
    if channel.strip_prefix(channels.prefix.as_str()) == Some("#emitter") {
        return message::read(channels, None, None, body);
    }
    let (namespace, rest) = channels.split(channel, "#").ok_or(Malformed::Channel)?;
    let room = rest.strip_suffix('#').map(str::to_owned);
    message::read(channels, Some(namespace), room, body)
}
