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
    /// Rooms that got their first member or lost their last one since [`Interest::due`].
    touched: Mutex<HashSet<Room>>,
    has_touched: Notify,
    confirmed: Mutex<HashSet<Room>>,
    changes: watch::Sender<()>,
}

impl Interest {
    pub(crate) fn new(config: &RedisConfig) -> Self {
        let enabled = config.url.is_some() && config.subscription_mode().subscribes_rooms();
        Self { enabled, ..Self::default() }
    }

    /// A room has got its first member, or lost its last one.
    pub(super) fn touch(&self, namespace: &str, room: &str) {
        if self.enabled && self.touched.lock().insert((namespace.to_owned(), room.to_owned())) {
            self.has_touched.notify_one();
        }
    }

    /// Whether the subscriptions of all `rooms` are confirmed.
    pub(crate) fn confirmed(&self, namespace: &str, rooms: &[String]) -> bool {
        let confirmed = self.confirmed.lock();
        rooms.iter().all(|room| confirmed.contains(&(namespace.to_owned(), room.clone())))
    }

    /// Reports each confirmation of subscriptions.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Waits until a room is touched.
    pub(crate) async fn touched(&self) {
        self.has_touched.notified().await;
    }

    /// Takes the touched rooms: those to subscribe to, and those to unsubscribe from. The latter are no longer
    /// confirmed. `has_members` reports whether a room has members on this node.
    pub(crate) fn due(&self, has_members: impl Fn(&Room) -> bool) -> (Vec<Room>, Vec<Room>) {
        let touched = std::mem::take(&mut *self.touched.lock());
        // Checked under this lock: a socket that joins a room meanwhile asks afterwards whether the room is confirmed.
        let mut confirmed = self.confirmed.lock();
        let (here, gone): (Vec<_>, Vec<_>) = touched.into_iter().partition(has_members);
        let new: Vec<_> = here.into_iter().filter(|room| !confirmed.contains(room)).collect();
        (new, gone.into_iter().filter(|room| confirmed.remove(room)).collect())
    }

    /// The rooms to subscribe to on a new connection: `all`, if rooms have subscriptions of their own. No room remains
    /// confirmed.
    pub(crate) fn renew(&self, all: impl FnOnce() -> Vec<Room>) -> Vec<Room> {
        if !self.enabled {
            return Vec::new();
        }
        self.confirmed.lock().clear();
        self.touched.lock().clear();
        all()
    }

    /// The subscriptions of these rooms are confirmed.
    pub(crate) fn confirm(&self, rooms: Vec<Room>) {
        self.confirmed.lock().extend(rooms);
        self.changes.send_replace(());
    }
}
