//! The wire formats of the cluster, for its members and for emitters.
//!
//! There are two protocols for the same content: that of `@socket.io/redis-adapter` and its predecessors ([`classic`]),
//! and that of its sharded adapter ([`sharded`]).

mod body;
mod channels;
mod classic;
mod options;
mod packet;
mod sharded;
#[cfg(test)]
mod tests;

use crate::config::Mode;
use crate::event::Event;
use crate::redis::{Publication, Subscription};
use crate::target::Target;
use bytes::Bytes;
pub(crate) use channels::Protocol;
use channels::escape;
pub(crate) use packet::{Answer, Emit, Malformed, Message, Received, ReplyTo, Request, Unpublishable};

impl Protocol {
    /// The permanent subscriptions of a member of `namespace`.
    pub(crate) fn subscriptions(&self, namespace: &str) -> Vec<Subscription> {
        match self.mode {
            Mode::Classic => classic::subscriptions(self, namespace),
            Mode::Sharded => sharded::subscriptions(self, namespace),
        }
    }

    /// Decodes a publication.
    pub(crate) fn read(&self, channel: &str, body: &Bytes) -> Result<Received, Malformed> {
        if let Some(probe) = channel.strip_prefix(self.probe_prefix()) {
            let number = std::str::from_utf8(body).ok().and_then(|text| text.parse().ok());
            return Ok(number.filter(|_| !probe.contains('#')).map_or(Received::NotForUs, Received::Probe));
        }
        if channel == self.revocations() {
            return Ok(Received::Revocations(serde_json::from_slice(body)?));
        }
        match self.mode {
            Mode::Classic => classic::read(self, channel, body),
            Mode::Sharded => sharded::read(self, channel, body),
        }
    }

    /// Encodes a message to the other members' clients.
    pub(crate) fn message(
        &self,
        namespace: &str,
        event: &Event,
        target: &Target,
        origin: Option<&str>,
    ) -> Result<Publication, Unpublishable> {
        match self.mode {
            Mode::Classic => classic::message(self, namespace, event, target, origin),
            Mode::Sharded => sharded::message(self, namespace, event, target, origin),
        }
    }

    /// Encodes a request to the other members. The answers repeat `id`.
    pub(crate) fn request(
        &self,
        namespace: &str,
        request: &Request,
        id: Option<&str>,
    ) -> Result<Publication, Unpublishable> {
        match self.mode {
            Mode::Classic => classic::request(self, namespace, request, id),
            Mode::Sharded => sharded::request(self, namespace, request, id),
        }
    }

    /// Encodes an answer to another member's request.
    pub(crate) fn answer(&self, namespace: &str, to: &ReplyTo, answer: &Answer) -> Result<Publication, Unpublishable> {
        match self.mode {
            Mode::Classic => classic::answer(self, namespace, to, answer),
            Mode::Sharded => sharded::answer(self, namespace, to, answer),
        }
    }

    /// The channel whose subscribers are exactly the members of `namespace`, for counting them.
    pub(crate) fn counted(&self, namespace: &str) -> String {
        match self.mode {
            Mode::Classic => classic::request_channel(self, namespace),
            Mode::Sharded => self.channel(namespace),
        }
    }

    /// A glob for the channels of the members that understand requests in msgpack: each of them has its own channel.
    /// Older versions have none, and crash on such requests.
    pub(crate) fn understanding(&self, namespace: &str) -> Option<String> {
        match self.mode {
            Mode::Classic => Some(format!("{}*#", escape(&classic::response_channel(self, namespace)))),
            Mode::Sharded => None,
        }
    }
}
