//! The members of a room as the columns of their delivery rows.

use crate::gateway::Session;
use arrow_array::{ArrayRef, Int64Array, StringArray};
use std::sync::Arc;

/// Who a message goes to.
#[derive(Default)]
pub(crate) struct Roster {
    sessions: Vec<Arc<Session>>,
    connections: Option<ArrayRef>,
    users: Option<ArrayRef>,
}

impl Roster {
    pub(crate) fn new(sessions: Vec<Arc<Session>>) -> Self {
        // A single recipient has a row of its own: columns would only take memory.
        if sessions.len() < 2 {
            return Self { sessions, connections: None, users: None };
        }
        let connections: ArrayRef = Arc::new(Int64Array::from_iter_values(sessions.iter().map(|s| s.connection)));
        let users: ArrayRef = Arc::new(StringArray::from_iter(sessions.iter().map(|s| s.user())));
        Self { sessions, connections: Some(connections), users: Some(users) }
    }

    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(crate) fn sessions(&self) -> &[Arc<Session>] {
        &self.sessions
    }

    /// `connection_seq` and `user_id` of the delivery rows; none for fewer than two members.
    pub(crate) fn columns(&self) -> Option<(ArrayRef, ArrayRef)> {
        Some((self.connections.clone()?, self.users.clone()?))
    }
}
