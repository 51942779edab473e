//! The rooms with members on this node, and their subscriptions in Redis.

use crate::config::RedisConfig;
use parking_lot::Mutex;
use std::collections::HashSet;
use tokio::sync::{Notify, watch};

/// A namespace, and a room of it.
pub(super) type Room = (String, String);

/// The rooms that this node subscribes to.
#[derive(Default)]
pub(crate) struct Interest {
    /// Whether rooms have subscriptions of their own.
    enabled: bool,
    /// Rooms that got their first member or lost their last one since [`Interest::take_changed`].
    changed: Mutex<HashSet<Room>>,
    has_changed: Notify,
    confirmed: Mutex<HashSet<Room>>,
    confirmations: watch::Sender<()>,
}

impl Interest {
    pub(crate) fn new(config: &RedisConfig) -> Self {
        let enabled = config.url.is_some() && config.subscription_mode().subscribes_rooms();
        Self { enabled, ..Self::default() }
    }

    /// A room has got its first member, or lost its last one.
    pub(super) fn mark_changed(&self, namespace: &str, room: &str) {
        if self.enabled && self.changed.lock().insert((namespace.to_owned(), room.to_owned())) {
            self.has_changed.notify_one();
        }
    }

    /// Whether the subscriptions of all `rooms` are confirmed.
    pub(crate) fn confirmed(&self, namespace: &str, rooms: &[String]) -> bool {
        let confirmed = self.confirmed.lock();
        rooms.iter().all(|room| confirmed.contains(&(namespace.to_owned(), room.clone())))
    }

    /// Reports each confirmation of subscriptions.
    pub(crate) fn confirmations(&self) -> watch::Receiver<()> {
        self.confirmations.subscribe()
    }

    /// Waits until a room has changed.
    pub(crate) async fn changed(&self) {
        self.has_changed.notified().await;
    }

    /// Takes the changed rooms: those to subscribe to, and those to unsubscribe from. The latter are no longer
    /// confirmed. `has_members` reports whether a room has members on this node.
    pub(crate) fn take_changed(&self, has_members: impl Fn(&Room) -> bool) -> (Vec<Room>, Vec<Room>) {
        let changed = std::mem::take(&mut *self.changed.lock());
        // Checked under this lock: a socket that joins a room meanwhile asks afterwards whether the room is confirmed.
        let mut confirmed = self.confirmed.lock();
        let (here, gone): (Vec<_>, Vec<_>) = changed.into_iter().partition(has_members);
        let new: Vec<_> = here.into_iter().filter(|room| !confirmed.contains(room)).collect();
        if !gone.is_empty() {
            // Nobody is to wait any longer for a room that will not be confirmed.
            self.confirmations.send_replace(());
        }
        (new, gone.into_iter().filter(|room| confirmed.remove(room)).collect())
    }

    /// The rooms to subscribe to on a new connection: `all`, if rooms have subscriptions of their own. No room remains
    /// confirmed.
    pub(crate) fn reset(&self, all: impl FnOnce() -> Vec<Room>) -> Vec<Room> {
        if !self.enabled {
            return Vec::new();
        }
        self.confirmed.lock().clear();
        self.changed.lock().clear();
        all()
    }

    /// The subscriptions of these rooms are confirmed.
    pub(crate) fn confirm(&self, rooms: Vec<Room>) {
        self.confirmed.lock().extend(rooms);
        self.confirmations.send_replace(());
    }
}
