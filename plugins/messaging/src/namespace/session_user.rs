//! The user, the token and the rooms of a socket.

use super::room_rules::{JoinRefused, RoomRules};
use crate::auth::{AcceptedToken, RoomClaims, RoomPattern};
use crate::connection::Moment;
use crate::limits::Counted;
use crate::rows::MembershipCause;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::task::AbortHandle;

/// The user, the token and the rooms of a session.
#[derive(Default)]
pub(crate) struct SessionUser {
    state: Mutex<State>,
    /// The task that disconnects the socket if it does not authenticate in time.
    auth_timer: Mutex<Option<AbortHandle>>,
}

#[derive(Default)]
struct State {
    name: Option<Arc<str>>,
    /// The socket's place among those of its user.
    place: Option<Counted<Arc<str>>>,
    /// What is remembered of the user's token. `None` if that is nothing.
    token: Option<Box<AcceptedToken>>,
    /// The previous user, and when it was replaced.
    previous: Option<(Moment, Arc<str>)>,
    rooms: Vec<Membership>,
    /// The rooms that the token allows the client to ask for. `None` if the token does not say.
    joinable: Option<Box<[RoomPattern]>>,
}

/// A room that the socket is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Membership {
    pub(super) room: String,
    /// Why the socket is in it. `None` if the room is that of the user or the site.
    pub(super) cause: Option<MembershipCause>,
}

/// What a client gets by authenticating.
pub(crate) struct Grant {
    pub(crate) user: Arc<str>,
    /// What is remembered of the token. `None` if that is nothing.
    pub(crate) token: Option<Box<AcceptedToken>>,
    /// The rooms of the user and the site.
    pub(crate) own_rooms: Vec<String>,
    pub(crate) claims: RoomClaims,
}

/// How the rooms of a socket change when it authenticates.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RoomChanges {
    pub(super) left: Vec<Membership>,
    /// Without the rooms of the user and the site.
    pub(super) joined: Vec<Membership>,
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

    /// Whether `check` is true of the user and the token. False until the socket has authenticated.
    pub(crate) fn holds(&self, check: impl FnOnce(&str, &AcceptedToken) -> bool) -> bool {
        let state = self.state.lock();
        let token = state.token.as_deref().unwrap_or(&AcceptedToken::EMPTY);
        state.name.as_deref().is_some_and(|user| check(user, token))
    }

    /// When the token ends, in seconds since 1970.
    pub(crate) fn token_ends(&self) -> Option<u64> {
        self.state.lock().token.as_ref()?.ends
    }

    /// All rooms of the socket, except the one named by its id.
    pub(crate) fn rooms(&self) -> Vec<String> {
        self.state.lock().rooms.iter().map(|membership| membership.room.clone()).collect()
    }

    /// The site whose room the socket is in.
    pub(crate) fn site(&self) -> Option<String> {
        let state = self.state.lock();
        let own = state.rooms.iter().filter(|membership| membership.cause.is_none());
        own.filter_map(|membership| membership.room.strip_prefix("site(")?.strip_suffix(')')).map(str::to_owned).next()
    }

    /// Whether the client may ask for some rooms. If not, its events `join` and `leave` are ordinary pushes.
    pub(super) fn may_ask(&self, rules: &RoomRules) -> bool {
        rules.has_patterns() || self.state.lock().joinable.is_some()
    }

    /// A server added the socket to `rooms`. Returns those that it was not in.
    pub(super) fn joined(&self, rooms: &[String]) -> Vec<String> {
        let (state, mut new) = (&mut *self.state.lock(), Vec::new());
        for room in rooms {
            match state.find(room) {
                // It stays in the room even if the client may no longer ask for it.
                Some(membership) => membership.cause = membership.cause.map(|_| MembershipCause::Server),
                None => {
                    state.rooms.push(Membership { room: room.clone(), cause: Some(MembershipCause::Server) });
                    new.push(room.clone());
                }
            }
        }
        new
    }

    /// The socket was removed from `rooms`. Returns those that it was in.
    pub(super) fn left(&self, rooms: &[String]) -> Vec<String> {
        let mut state = self.state.lock();
        let was_in = state.rooms.extract_if(.., |membership| rooms.contains(&membership.room));
        was_in.map(|membership| membership.room).collect()
    }

    /// Adds a room that the client asks for. Returns whether the socket was not in it.
    pub(super) fn ask_to_join(&self, room: &str, rules: &RoomRules) -> Result<bool, JoinRefused> {
        let state = &mut *self.state.lock();
        rules.check(room, state.joinable.as_deref())?;
        if state.find(room).is_some() {
            return Ok(false);
        }
        if state.rooms.len() >= rules.rooms_max() {
            return Err(JoinRefused::TooMany);
        }
        state.rooms.push(Membership { room: room.to_owned(), cause: Some(MembershipCause::Client) });
        Ok(true)
    }

    /// Removes a room that the client asks to leave. Returns whether the socket was in it.
    pub(super) fn ask_to_leave(&self, room: &str, rules: &RoomRules) -> Result<bool, JoinRefused> {
        let state = &mut *self.state.lock();
        rules.check(room, state.joinable.as_deref())?;
        let before = state.rooms.len();
        state.rooms.retain(|membership| membership.room != room);
        Ok(state.rooms.len() < before)
    }

    /// Holds `place` until the socket closes, or gets another.
    pub(crate) fn hold(&self, place: Counted<Arc<str>>) {
        self.state.lock().place = Some(place);
    }

    /// The socket is closed.
    pub(super) fn closed(&self) {
        self.stop_auth_timer();
        self.state.lock().place = None;
    }

    /// Aborts `timer` when the socket authenticates or closes.
    pub(crate) fn set_auth_timer(&self, timer: AbortHandle) {
        *self.auth_timer.lock() = Some(timer);
    }

    fn stop_auth_timer(&self) {
        // Removed, because a handle keeps the memory of its task.
        if let Some(timer) = self.auth_timer.lock().take() {
            timer.abort();
        }
    }

    /// Sets the user and the rooms that come with it. The socket leaves the rooms of the previous token, those that the
    /// client may no longer ask for, and, if the user has changed, all others.
    pub(super) fn set(&self, grant: Grant, rules: &RoomRules) -> RoomChanges {
        self.stop_auth_timer();
        let Grant { user, token, own_rooms, claims } = grant;
        let state = &mut *self.state.lock();
        state.token = token;
        let previous = state.name.replace(user);
        let is_other = previous.is_some() && previous != state.name;
        if is_other {
            state.previous = previous.map(|name| (Moment::now(), name));
        }
        state.joinable = claims.joinable;
        let own = own_rooms.into_iter().map(|room| Membership { room, cause: None });
        let cause = Some(MembershipCause::Authentication);
        let granted = own.chain(claims.rooms.into_iter().map(|room| Membership { room, cause })).collect();
        let joinable = state.joinable.as_deref();
        let stays = |membership: &Membership| match membership.cause {
            _ if is_other => false,
            None | Some(MembershipCause::Authentication) => false,
            Some(MembershipCause::Client) => rules.check(&membership.room, joinable).is_ok(),
            Some(MembershipCause::Server) => true,
        };
        replace(&mut state.rooms, granted, stays)
    }
}

impl State {
    fn find(&mut self, room: &str) -> Option<&mut Membership> {
        self.rooms.iter_mut().find(|membership| membership.room == room)
    }
}

/// Replaces all memberships, except those that stay, by `granted`.
fn replace(rooms: &mut Vec<Membership>, granted: Vec<Membership>, stays: impl Fn(&Membership) -> bool) -> RoomChanges {
    let is_in = |list: &[Membership], room: &str| list.iter().any(|membership| membership.room == room);
    let before = std::mem::replace(rooms, Vec::with_capacity(granted.len()));
    for membership in granted {
        if !is_in(rooms, &membership.room) {
            let kept = before.iter().find(|it| it.room == membership.room && stays(it));
            rooms.push(kept.cloned().unwrap_or(membership));
        }
    }
    let joined = rooms.iter().filter(|it| it.cause.is_some() && !is_in(&before, &it.room)).cloned().collect();
    for membership in before.iter().filter(|it| stays(it)) {
        if !is_in(rooms, &membership.room) {
            rooms.push(membership.clone());
        }
    }
    let left = before.into_iter().filter(|it| !is_in(rooms, &it.room)).collect();
    RoomChanges { left, joined }
}
