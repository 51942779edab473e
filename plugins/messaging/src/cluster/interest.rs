//! The rooms that have members here, and which of them Redis knows about.

use crate::config::RedisConfig;
use crate::fanout::Namespaces;
use parking_lot::Mutex;
use std::collections::HashSet;
use tokio::sync::{Notify, watch};

/// A room of a namespace.
pub(super) type Room = (String, String);

/// What this node is interested in.
#[derive(Default)]
pub(crate) struct Interest {
    /// Whether rooms are to be told of at all.
    kept: bool,
    /// Rooms that were made or left by all, not yet looked at.
    touched: Mutex<HashSet<Room>>,
    news: Notify,
    confirmed: Mutex<HashSet<Room>>,
    changes: watch::Sender<()>,
}

impl Interest {
    /// Rooms matter where they have subscriptions of their own.
    pub(crate) fn new(config: &RedisConfig) -> Self {
        let kept = config.url.is_some() && config.subscription_mode().subscribes_rooms();
        Self { kept, ..Self::default() }
    }

    /// A room was made, or has nobody left.
    pub(crate) fn touch(&self, namespace: &str, room: &str) {
        if self.kept && self.touched.lock().insert((namespace.to_owned(), room.to_owned())) {
            self.news.notify_one();
        }
    }

    /// Whether messages to all of `rooms` come here.
    pub(super) fn confirmed(&self, namespace: &str, rooms: &[String]) -> bool {
        let confirmed = self.confirmed.lock();
        rooms.iter().all(|room| confirmed.contains(&(namespace.to_owned(), room.clone())))
    }

    /// Tells when rooms have been confirmed.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Waits until a room was touched.
    pub(super) async fn touched(&self) {
        self.news.notified().await;
    }

    /// What there is to subscribe to, and to unsubscribe from, which is no longer confirmed by that.
    pub(super) fn due(&self, namespaces: &Namespaces) -> (Vec<Room>, Vec<Room>) {
        let touched = std::mem::take(&mut *self.touched.lock());
        // Looked at under this lock: whoever comes into a room meanwhile asks afterwards whether it is confirmed.
        let mut confirmed = self.confirmed.lock();
        let is_here = |(namespace, room): &Room| namespaces.get(namespace).is_some_and(|n| n.rooms.read().has(room));
        let (here, gone): (Vec<_>, Vec<_>) = touched.into_iter().partition(is_here);
        let new: Vec<_> = here.into_iter().filter(|room| !confirmed.contains(room)).collect();
        (new, gone.into_iter().filter(|room| confirmed.remove(room)).collect())
    }

    /// Every room that there is, with nothing confirmed: the connection is new.
    pub(super) fn all(&self, namespaces: &Namespaces) -> Vec<Room> {
        if !self.kept {
            return Vec::new();
        }
        self.confirmed.lock().clear();
        self.touched.lock().clear();
        let of = |name: String| {
            namespaces
                .get(&name)
                .map(|n| n.rooms.read().names())
                .unwrap_or_default()
                .into_iter()
                .map(move |room| (name.clone(), room))
        };
        namespaces.names().into_iter().flat_map(of).collect()
    }

    /// Messages to these rooms come here.
    pub(super) fn confirm(&self, rooms: Vec<Room>) {
        self.confirmed.lock().extend(rooms);
        self.changes.send_replace(());
    }
}
