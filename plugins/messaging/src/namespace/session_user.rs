//! Who is on the other side of a socket, and the rooms that it is in.

use crate::connection::Moment;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::task::AbortHandle;

/// The user of a session, once it has authenticated, and its rooms.
#[derive(Default)]
pub(crate) struct SessionUser {
    known: Mutex<Known>,
    /// Disconnects the socket, unless it authenticates in time.
    timer: Mutex<Option<AbortHandle>>,
}

#[derive(Default)]
struct Known {
    name: Option<Arc<str>>,
    /// Who it was before, and until when.
    earlier: Option<(Moment, Arc<str>)>,
    /// The rooms that came with the user.
    rooms: Vec<String>,
    /// The rooms that it was put into otherwise.
    joined: Vec<String>,
}

impl SessionUser {
    /// The user's id; `None` until it has authenticated.
    pub(crate) fn name(&self) -> Option<Arc<str>> {
        self.known.lock().name.clone()
    }

    /// The user's id at that moment.
    pub(super) fn name_at(&self, moment: Moment) -> Option<Arc<str>> {
        let known = self.known.lock();
        let earlier = known.earlier.as_ref().filter(|(until, _)| moment.elapsed() > until.elapsed());
        earlier.map(|(_, name)| name.clone()).or_else(|| known.name.clone())
    }

    /// All rooms that it is in, except its own.
    pub(crate) fn rooms(&self) -> Vec<String> {
        let known = self.known.lock();
        known.rooms.iter().chain(&known.joined).cloned().collect()
    }

    /// It was put into `rooms`.
    pub(super) fn joined(&self, rooms: &[String]) {
        let mut known = self.known.lock();
        for room in rooms {
            if !known.rooms.contains(room) && !known.joined.contains(room) {
                known.joined.push(room.clone());
            }
        }
    }

    /// It was put out of `rooms`.
    pub(super) fn left(&self, rooms: &[String]) {
        let mut known = self.known.lock();
        known.rooms.retain(|room| !rooms.contains(room));
        known.joined.retain(|room| !rooms.contains(room));
    }

    /// Stops `timer` when the user is known, or the session closed.
    pub(crate) fn until_known(&self, timer: AbortHandle) {
        *self.timer.lock() = Some(timer);
    }

    /// Stops the timer.
    pub(super) fn stop_waiting(&self) {
        // Taken out, because a handle keeps the memory of its task.
        if let Some(timer) = self.timer.lock().take() {
            timer.abort();
        }
    }

    /// The user is known, and the rooms that come with it. Returns the rooms that it leaves: those that came with the
    /// user it was, and if that was somebody else, those that it was put into as well.
    pub(super) fn set(&self, name: Arc<str>, rooms: Vec<String>) -> Vec<String> {
        self.stop_waiting();
        let known = &mut *self.known.lock();
        let before = known.name.replace(name);
        let mut left = std::mem::replace(&mut known.rooms, rooms);
        if before.is_some() && before != known.name {
            left.append(&mut known.joined);
            known.earlier = before.map(|name| (Moment::now(), name));
        }
        known.joined.retain(|room| !known.rooms.contains(room));
        left.retain(|room| !known.rooms.contains(room));
        left
    }
}
