//! The state of the cluster, and publishing to it.

use super::log_limit::LogLimit;
use super::pending::Pending;
use super::protocol::Protocol;
use super::publish_queue::{PublishQueue, Published};
use super::reach::NotReached;
use crate::config::RedisConfig;
use crate::event::Event;
use crate::namespace::{Interest, Namespaces};
use crate::redis::{Publication, Redis};
use crate::revocation::Revocations;
use crate::target::Target;
use parking_lot::RwLock;
use std::sync::Arc;
use tokio::sync::{Notify, watch};

/// The cluster from the view of this node.
pub(crate) struct Cluster {
    pub(super) url: String,
    pub(super) protocol: Protocol,
    pub(super) namespaces: Namespaces,
    pub(super) interest: Arc<Interest>,
    pub(super) connection: RwLock<Option<Arc<dyn Redis>>>,
    pub(super) state: watch::Sender<State>,
    pub(super) publish_queue: PublishQueue,
    pub(super) pending: Pending,
    pub(super) revocations: Arc<Revocations>,
    /// Notified if Redis may have revocations that this node lacks, or the reverse.
    pub(super) revocations_due: Notify,
    pub(super) revocation_log: LogLimit,
    pub(super) unanswered_log: LogLimit,
    pub(super) old_member_log: LogLimit,
}

/// Whether the cluster is reachable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// Not known yet.
    Connecting,
    Up,
    /// Not reachable, for this reason.
    Down(Arc<str>),
}

impl Cluster {
    /// `None` if no Redis is configured.
    pub(crate) fn new(
        config: &RedisConfig,
        namespaces: Namespaces,
        interest: Arc<Interest>,
        revocations: Arc<Revocations>,
    ) -> Option<Arc<Self>> {
        let protocol = Protocol::new(config, uid(config));
        Some(Arc::new(Self {
            url: config.url.clone()?,
            protocol,
            namespaces,
            interest,
            connection: RwLock::default(),
            state: watch::Sender::new(State::Connecting),
            publish_queue: PublishQueue::default(),
            pending: Pending::default(),
            revocations,
            revocations_due: Notify::new(),
            revocation_log: LogLimit::default(),
            unanswered_log: LogLimit::default(),
            old_member_log: LogLimit::default(),
        }))
    }

    /// Publishes a message to the clients of the other members, in the order of the calls.
    ///
    /// # Errors
    /// If it is certain that the message will not be published.
    pub(crate) fn publish(
        &self,
        namespace: &str,
        event: &Event,
        target: &Target,
        origin: Option<&str>,
    ) -> Result<Published, NotReached> {
        self.put(self.protocol.message(namespace, event, target, origin)?)
    }

    /// Queues a publication, if the cluster is reachable.
    pub(super) fn put(&self, publication: Publication) -> Result<Published, NotReached> {
        match &*self.state.borrow() {
            State::Up => self.publish_queue.put(publication),
            State::Down(why) => Err(NotReached::Down(why.clone())),
            State::Connecting => Err(NotReached::Down("the node is still connecting".into())),
        }
    }

    /// Whether this node receives every message to `rooms`, or cannot receive any because the cluster is down.
    pub(crate) fn covers(&self, namespace: &str, rooms: &[String]) -> bool {
        match &*self.state.borrow() {
            State::Connecting => false,
            State::Down(_) => true,
            State::Up => !self.protocol.subscribes_rooms() || self.interest.confirmed(namespace, rooms),
        }
    }

    /// Waits until [`Cluster::covers`], or one of `rooms` has no members.
    pub(crate) async fn wait_until_covered(&self, namespace: &str, rooms: &[String]) {
        let mut state = self.state.subscribe();
        let mut confirmed = self.interest.confirmations();
        while !self.covers(namespace, rooms) && self.all_have_members(namespace, rooms) {
            tokio::select! {
                _ = state.changed() => {}
                _ = confirmed.changed() => {}
            }
        }
    }

    /// Whether each of `rooms` has members. The subscriptions of others are never confirmed.
    fn all_have_members(&self, namespace: &str, rooms: &[String]) -> bool {
        self.namespaces.get(namespace).is_some_and(|namespace| {
            let own = namespace.rooms.read();
            rooms.iter().all(|room| own.has(room))
        })
    }

    pub(super) fn connection(&self) -> Option<Arc<dyn Redis>> {
        self.connection.read().clone()
    }
}

/// A random name for this node, like those of Node's adapters: 6 characters in the classic protocol, 16 digits in the
/// sharded one.
pub(super) fn uid(config: &RedisConfig) -> String {
    const CHARACTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let random: [u8; 8] = random();
    match config.mode {
        crate::config::Mode::Classic => {
            random[..6].iter().map(|byte| char::from(CHARACTERS[usize::from(byte & 63)])).collect()
        }
        crate::config::Mode::Sharded => random.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system's random number generator works");
    bytes
}
