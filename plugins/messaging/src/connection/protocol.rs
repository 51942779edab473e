//! The versions of engine.io's protocol.

/// A version of engine.io's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Clients 1.x and 2.x.
    V3,
    /// Clients 3.x and 4.x.
    V4,
}

impl Protocol {
    /// The number in the handshake (`EIO`) and in the tables.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::V3 => 3,
            Self::V4 => 4,
        }
    }
}
