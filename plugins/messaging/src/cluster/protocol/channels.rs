//! The cluster's protocol as configured on this node: its mode, and the names of its channels.

use crate::config::{Mode, RedisConfig, SubscriptionMode};
use crate::redis::{Publication, Subscription};
use bytes::Bytes;

/// The cluster's protocol, as configured on this node.
#[derive(Debug, Clone)]
pub(crate) struct Protocol {
    pub(super) mode: Mode,
    pub(super) subscription: SubscriptionMode,
    pub(super) prefix: String,
    /// This node's id in the cluster.
    pub(super) uid: String,
    /// The prefix of this node's probe channels.
    pub(super) probe_prefix: String,
    revocations: String,
}

impl Protocol {
    pub(crate) fn new(config: &RedisConfig, uid: String) -> Self {
        let probe_prefix = format!("{}-greyhound#{uid}#", config.prefix);
        Self {
            mode: config.mode,
            subscription: config.subscription_mode(),
            prefix: config.prefix.clone(),
            uid,
            probe_prefix,
            revocations: format!("{}-greyhound-revocations", config.prefix),
        }
    }

    /// The additional subscription of a member of `namespace` while a socket is in `room`.
    pub(crate) fn room(&self, namespace: &str, room: &str) -> Option<Subscription> {
        let channel = || format!("{}{room}#", self.channel(namespace));
        match self.subscription {
            SubscriptionMode::Pattern | SubscriptionMode::Static => None,
            SubscriptionMode::Rooms => Some(Subscription::Channel(channel())),
            SubscriptionMode::Dynamic | SubscriptionMode::DynamicPrivate => Some(Subscription::Shard(channel())),
        }
    }

    /// Whether rooms have their own subscriptions.
    pub(crate) fn subscribes_rooms(&self) -> bool {
        self.subscription.subscribes_rooms()
    }

    /// The prefix of the channels on which this node checks that messages arrive.
    pub(crate) fn probe_prefix(&self) -> &str {
        &self.probe_prefix
    }

    pub(crate) fn sharded(&self) -> bool {
        self.mode == Mode::Sharded
    }

    /// The key of the revocations in Redis, and their channel.
    pub(crate) fn revocations(&self) -> &str {
        &self.revocations
    }

    /// A publication of revocations, as a JSON array.
    pub(crate) fn revoked(&self, body: Bytes) -> Publication {
        self.publication(self.revocations.clone(), body)
    }

    /// Encodes a probe.
    pub(crate) fn probe(&self, channel: String, number: u64) -> Publication {
        self.publication(channel, number.to_string().into())
    }

    /// The subscription to a channel.
    pub(crate) fn subscription(&self, channel: String) -> Subscription {
        if self.sharded() { Subscription::Shard(channel) } else { Subscription::Channel(channel) }
    }

    pub(super) fn publication(&self, channel: String, body: Bytes) -> Publication {
        Publication { channel, body, sharded: self.sharded() }
    }

    /// The channel for messages to everybody in a namespace. The channel of a room begins with it.
    pub(super) fn channel(&self, namespace: &str) -> String {
        format!("{}#{namespace}#", self.prefix)
    }

    /// The namespace and the rest of a channel, after the cluster's prefix and `kind`.
    pub(super) fn split<'a>(&self, channel: &'a str, kind: &str) -> Option<(&'a str, &'a str)> {
        channel.strip_prefix(self.prefix.as_str())?.strip_prefix(kind)?.split_once('#')
    }
}

/// Escapes a name for a glob.
pub(super) fn escape(name: &str) -> String {
    let mut glob = String::with_capacity(name.len());
    for character in name.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\') {
            glob.push('\\');
        }
        glob.push(character);
    }
    glob
}
