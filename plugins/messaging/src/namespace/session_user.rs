//! The user and the rooms of a socket.

use crate::connection::Moment;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::task::AbortHandle;

/// The user and the rooms of a session.
#[derive(Default)]
pub(crate) struct SessionUser {
    state: Mutex<State>,
    /// The task that disconnects the socket if it does not authenticate in time.
    auth_timer: Mutex<Option<AbortHandle>>,
}

#[derive(Default)]
struct State {
    name: Option<Arc<str>>,
    /// The previous user, and when it was replaced.
    previous: Option<(Moment, Arc<str>)>,
    /// The user's rooms.
    rooms: Vec<String>,
    /// Other rooms that the socket was added to.
    joined: Vec<String>,
}

impl SessionUser {
    /// The user's id; `None` until the socket has authenticated.
    pub(crate) fn name(&self) -> Option<Arc<str>> {
        self.state.lock().name.clone()
    }

    /// The user's id at `moment`.
    pub(super) fn name_at(&self, moment: Moment) -> Option<Arc<str>> {
        let state = self.state.lock();
        let previous = state.previous.as_ref().filter(|(until, _)| moment.elapsed() > until.elapsed());
        previous.map(|(_, name)| name.clone()).or_else(|| state.name.clone())
    }

    /// All rooms of the socket, except the one named by its id.
    pub(crate) fn rooms(&self) -> Vec<String> {
        let state = self.state.lock();
        state.rooms.iter().chain(&state.joined).cloned().collect()
    }

    /// The socket was added to `rooms`.
    pub(super) fn joined(&self, rooms: &[String]) {
        let mut state = self.state.lock();
        for room in rooms {
            if !state.rooms.contains(room) && !state.joined.contains(room) {
                state.joined.push(room.clone());
            }
        }
    }

    /// The socket was removed from `rooms`.
    pub(super) fn left(&self, rooms: &[String]) {
        let mut state = self.state.lock();
        state.rooms.retain(|room| !rooms.contains(room));
        state.joined.retain(|room| !rooms.contains(room));
    }

    /// Aborts `timer` when the socket authenticates or closes.
    pub(crate) fn set_auth_timer(&self, timer: AbortHandle) {
        *self.auth_timer.lock() = Some(timer);
    }

    pub(super) fn stop_auth_timer(&self) {
        // Removed, because a handle keeps the memory of its task.
        if let Some(timer) = self.auth_timer.lock().take() {
            timer.abort();
        }
    }

    /// Sets the user and the user's rooms. Returns the rooms that the socket leaves: the previous rooms of its user and,
    /// if the user has changed, all other rooms.
    pub(super) fn set(&self, name: Arc<str>, rooms: Vec<String>) -> Vec<String> {
        self.stop_auth_timer();
        let state = &mut *self.state.lock();
        let before = state.name.replace(name);
        let mut left = std::mem::replace(&mut state.rooms, rooms);
        if before.is_some() && before != state.name {
            left.append(&mut state.joined);
            state.previous = before.map(|name| (Moment::now(), name));
        }
        state.joined.retain(|room| !state.rooms.contains(room));
        left.retain(|room| !state.rooms.contains(room));
        left
    }
}
