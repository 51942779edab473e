//! Which rooms clients may ask for, and how many.

use crate::auth::{RoomPattern, check_room_name};

/// Which rooms clients may ask for, and how many.
#[derive(Debug, Default)]
pub(crate) struct RoomRules {
    /// The rooms that every authenticated client may ask for.
    patterns: Vec<RoomPattern>,
    rooms_max: usize,
}

/// Why a client may not join or leave a room. Its text is part of the client's acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JoinRefused {
    #[error("not the name of a room")]
    NotARoom,
    #[error("not allowed")]
    NotAllowed,
    #[error("too many rooms")]
    TooMany,
}

impl RoomRules {
    /// Expects patterns that [`RoomPattern::parse`] accepts, and skips others.
    pub(crate) fn new(patterns: &[String], rooms_max: usize) -> Self {
        Self { patterns: patterns.iter().filter_map(|text| RoomPattern::parse(text).ok()).collect(), rooms_max }
    }

    pub(super) fn has_patterns(&self) -> bool {
        !self.patterns.is_empty()
    }

    /// The number of rooms from which on a client may join no more.
    pub(super) fn rooms_max(&self) -> usize {
        self.rooms_max
    }

    /// Checks that a client may join and leave a room. `joinable` are the patterns in its token.
    pub(super) fn check(&self, room: &str, joinable: Option<&[RoomPattern]>) -> Result<(), JoinRefused> {
        let mut allowed = self.patterns.iter().chain(joinable.into_iter().flatten());
        match check_room_name(room) {
            Ok(()) if allowed.any(|pattern| pattern.matches(room)) => Ok(()),
            _ => Err(JoinRefused::NotAllowed),
        }
    }
}
