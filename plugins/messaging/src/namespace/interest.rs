//! The rooms that have members here, and which of them Redis knows about.

use crate::config::RedisConfig;
use parking_lot::Mutex;
use std::collections::HashSet;
use tokio::sync::{Notify, watch};

/// A room of a namespace.
pub(crate) type Room = (String, String);

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
    pub(crate) fn confirmed(&self, namespace: &str, rooms: &[String]) -> bool {
        let confirmed = self.confirmed.lock();
        rooms.iter().all(|room| confirmed.contains(&(namespace.to_owned(), room.clone())))
    }

    /// Tells when rooms have been confirmed.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Waits until a room was touched.
    pub(crate) async fn touched(&self) {
        self.news.notified().await;
    }

    /// What there is to subscribe to, and to unsubscribe from, which is no longer confirmed by that. `has_members` says
    /// whether a room has members here.
    pub(crate) fn due(&self, has_members: impl Fn(&Room) -> bool) -> (Vec<Room>, Vec<Room>) {
        let touched = std::mem::take(&mut *self.touched.lock());
        // Looked at under this lock: whoever comes into a room meanwhile asks afterwards whether it is confirmed.
        let mut confirmed = self.confirmed.lock();
        let (here, gone): (Vec<_>, Vec<_>) = touched.into_iter().partition(has_members);
        let new: Vec<_> = here.into_iter().filter(|room| !confirmed.contains(room)).collect();
        (new, gone.into_iter().filter(|room| confirmed.remove(room)).collect())
    }

    /// What there is to subscribe to on a new connection: of `all` rooms, those that have subscriptions of their own.
    /// Nothing is confirmed any more.
    pub(crate) fn renew(&self, all: impl FnOnce() -> Vec<Room>) -> Vec<Room> {
        if !self.kept {
            return Vec::new();
        }
        self.confirmed.lock().clear();
        self.touched.lock().clear();
        all()
    }

    /// Messages to these rooms come here.
    pub(crate) fn confirm(&self, rooms: Vec<Room>) {
        self.confirmed.lock().extend(rooms);
        self.changes.send_replace(());
    }
}
