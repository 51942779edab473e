//! The sockets that a message or a request is for.

/// A selection of a namespace's sockets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Target {
    /// The sockets in any of these rooms. If empty, all sockets.
    pub(crate) rooms: Vec<String>,
    /// Leave out the sockets in any of these rooms.
    pub(crate) except: Vec<String>,
    /// Drop the message for clients that cannot receive it immediately.
    pub(crate) volatile: bool,
}

impl Target {
    pub(crate) fn room(room: String) -> Self {
        Self { rooms: vec![room], ..Self::default() }
    }
}
