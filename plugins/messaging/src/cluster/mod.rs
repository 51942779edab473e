//! This node as a member of a cluster of socket.io servers that share a Redis, whoever wrote them.
//!
//! ```text
//!  Redis ──▶ inbox ──▶ messages ──▶ the outlet: sockets and rows
//!                  ├─▶ requests ──▶ answers ──▶ outbox
//!                  └─▶ answers  ──▶ whoever asked
//!  emitter, HTTP ──▶ outbox ──▶ Redis
//! ```
//!
//! A [`member`] keeps the connection; while there is none, everything local goes on.

mod answer;
mod ask;
mod check;
mod complaint;
mod inbox;
mod interest;
mod member;
mod outbox;
mod proof;
pub(crate) mod protocol;

use crate::config::RedisConfig;
use crate::event::Event;
use crate::fanout::Namespaces;
use crate::redis::{Publication, Redis};
pub(crate) use answer::Answering;
use ask::Pending;
pub use ask::{Acks, Gathered};
pub(crate) use check::check;
use complaint::Complaint;
pub(crate) use interest::Interest;
pub(crate) use member::Member;
use outbox::Outbox;
pub(crate) use outbox::Published;
use parking_lot::RwLock;
use protocol::{Protocol, Target, Unpublishable};
use std::sync::Arc;
use tokio::sync::watch;

/// The cluster, as this node sees it.
pub(crate) struct Cluster {
    url: String,
    protocol: Protocol,
    namespaces: Namespaces,
    interest: Arc<Interest>,
    connection: RwLock<Option<Arc<dyn Redis>>>,
    state: watch::Sender<State>,
    outbox: Outbox,
    pending: Pending,
    unanswered: Complaint,
    old_member: Complaint,
}

/// Whether the cluster is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// It is not known yet.
    Connecting,
    Up,
    /// Why it is not.
    Down(Arc<str>),
}

/// Why the cluster was not reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotReached {
    #[error("Redis cannot be reached: {0}")]
    Down(Arc<str>),
    #[error("Redis did not take it: {0}")]
    Refused(Arc<str>),
    #[error("too much waits for Redis already")]
    Full,
    #[error(
        "a member of the cluster is older than @socket.io/redis-adapter 7.1, which would crash of a message with acknowledgements"
    )]
    OldMember,
    #[error(transparent)]
    Unpublishable(#[from] Unpublishable),
}

impl Cluster {
    /// None where no Redis is configured.
    pub(crate) fn new(config: &RedisConfig, namespaces: Namespaces, interest: Arc<Interest>) -> Option<Arc<Self>> {
        let protocol = Protocol::new(config, uid(config));
        Some(Arc::new(Self {
            url: config.url.clone()?,
            protocol,
            namespaces,
            interest,
            connection: RwLock::default(),
            state: watch::Sender::new(State::Connecting),
            outbox: Outbox::default(),
            pending: Pending::default(),
            unanswered: Complaint::default(),
            old_member: Complaint::default(),
        }))
    }

    /// Publishes a message to the clients of the other members, in the order of the calls.
    ///
    /// # Errors
    /// Where it is clear at once that it is not published.
    pub(crate) fn publish(
        &self,
        namespace: &str,
        event: &Event,
        target: &Target,
        origin: Option<&str>,
    ) -> Result<Published, NotReached> {
        self.put(self.protocol.message(namespace, event, target, origin)?)
    }

    /// Lets something be published, unless it is clear that it cannot be.
    fn put(&self, publication: Publication) -> Result<Published, NotReached> {
        match &*self.state.borrow() {
            State::Up => self.outbox.put(publication),
            State::Down(why) => Err(NotReached::Down(why.clone())),
            State::Connecting => Err(NotReached::Down("it is being connected to".into())),
        }
    }

    /// Whether every message to `rooms` comes here already, or none can.
    pub(crate) fn covers(&self, namespace: &str, rooms: &[String]) -> bool {
        match &*self.state.borrow() {
            State::Connecting => false,
            State::Down(_) => true,
            State::Up => !self.protocol.subscribes_rooms() || self.interest.confirmed(namespace, rooms),
        }
    }

    /// Waits until it does.
    pub(crate) async fn covered(&self, namespace: &str, rooms: &[String]) {
        let mut state = self.state.subscribe();
        let mut confirmed = self.interest.changes();
        while !self.covers(namespace, rooms) && self.is_anybody_in(namespace, rooms) {
            tokio::select! {
                _ = state.changed() => {}
                _ = confirmed.changed() => {}
            }
        }
    }

    /// Whether somebody is in each of `rooms`: others are never confirmed.
    fn is_anybody_in(&self, namespace: &str, rooms: &[String]) -> bool {
        self.namespaces.get(namespace).is_some_and(|namespace| {
            let own = namespace.rooms.read();
            rooms.iter().all(|room| own.has(room))
        })
    }

    fn connection(&self) -> Option<Arc<dyn Redis>> {
        self.connection.read().clone()
    }
}

/// A name as those of the other members: 6 characters in the classic protocol, 16 digits in the sharded one.
fn uid(config: &RedisConfig) -> String {
    const CHARACTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let random: [u8; 8] = random();
    match config.mode {
        crate::config::Mode::Classic => {
            random[..6].iter().map(|byte| char::from(CHARACTERS[usize::from(byte & 63)])).collect()
        }
        crate::config::Mode::Sharded => random.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    bytes
}
