//! The members of a room as the columns of their delivery rows.

use super::session::Session;
use arrow_array::{Array, ArrayRef, Int64Array, StringArray};
use std::sync::Arc;

/// The recipients of a message, and their users when the roster was built: the user of a socket may change while a
/// message is on its way.
#[derive(Default)]
pub(crate) struct Roster {
    sessions: Vec<Arc<Session>>,
    users: Users,
}

enum Users {
    /// The user of a single recipient. Its row is written on its own, so columns would only take memory.
    One(Option<Arc<str>>),
    Columns {
        connections: ArrayRef,
        users: Arc<StringArray>,
    },
}

impl Default for Users {
    fn default() -> Self {
        Self::One(None)
    }
}

impl Roster {
    pub(super) fn new(sessions: Vec<Arc<Session>>) -> Self {
        let users = match &sessions[..] {
            [] => Users::One(None),
            [one] => Users::One(one.user().name()),
            several => Users::Columns {
                connections: Arc::new(Int64Array::from_iter_values(several.iter().map(|s| s.connection_seq))),
                users: Arc::new(StringArray::from_iter(several.iter().map(|s| s.user().name()))),
            },
        };
        Self { sessions, users }
    }

    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(crate) fn sessions(&self) -> &[Arc<Session>] {
        &self.sessions
    }

    /// The user of the recipient at this index.
    pub(crate) fn user(&self, index: usize) -> Option<&str> {
        match &self.users {
            Users::One(user) => user.as_deref(),
            Users::Columns { users, .. } => users.is_valid(index).then(|| users.value(index)),
        }
    }

    /// `connection_seq` and `user_id` of the delivery rows; `None` for fewer than two members.
    pub(crate) fn columns(&self) -> Option<(ArrayRef, ArrayRef)> {
        match &self.users {
            Users::One(_) => None,
            Users::Columns { connections, users } => Some((connections.clone(), users.clone())),
        }
    }
}
