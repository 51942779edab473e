//! The rooms that a token names, and the patterns of rooms that a client may ask for.

use serde_json::{Map, Value};

/// Longest name of a room that a token names or a client asks for, in bytes.
pub(crate) const ROOM_NAME_LEN_MAX: usize = 128;
/// Maximum number of rooms that a client gets by authenticating, and of patterns in its token.
pub(crate) const ROOMS_MAX: usize = 64;

/// The rooms that a client gets by authenticating, and those that it may ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RoomClaims {
    /// The rooms to join.
    pub(crate) rooms: Vec<String>,
    /// The rooms that the client may join and leave by itself. `None` if the token does not say.
    pub(crate) joinable: Option<Box<[RoomPattern]>>,
}

/// The rooms that a client may ask for: one room, or all rooms with names such as `team(*)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoomPattern(Box<str>);

/// Why a text is not the name of a room that a client may be in, or not a pattern of such names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotARoom {
    #[error("it is empty")]
    Empty,
    #[error("it has more than {ROOM_NAME_LEN_MAX} bytes")]
    TooLong,
    #[error("it has control characters")]
    ControlCharacter,
    #[error("only a token's user and site decide about the rooms user(..) and site(..)")]
    Reserved,
    #[error("it has more than one *")]
    Wildcards,
    #[error(
        "it could match the id of a socket, and thus messages to another client: expected a character other than a letter, a digit, - or _ beside the *, for example \"team(*)\" or \"team:*\""
    )]
    SocketId,
}

impl RoomPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// If no room has such a name, or a client must not ask for all rooms that have.
    pub(crate) fn parse(text: &str) -> Result<Self, NotARoom> {
        check_room_name(text)?;
        if let Some((before, after)) = text.split_once('*') {
            if after.contains('*') {
                return Err(NotARoom::Wildcards);
            }
            // Each socket is alone in the room of its id, which consists of these characters in Node as well.
            let in_ids = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if before.chars().chain(after.chars()).all(in_ids) {
                return Err(NotARoom::SocketId);
            }
        }
        Ok(Self(text.into()))
    }

    /// Whether `room` has such a name. The `*` stands for at least one character.
    pub(crate) fn matches(&self, room: &str) -> bool {
        match self.0.split_once('*') {
            None => *self.0 == *room,
            Some((before, after)) => {
                room.len() > before.len() + after.len() && room.starts_with(before) && room.ends_with(after)
            }
        }
    }
}

impl RoomClaims {
    /// Reads the claims.
    ///
    /// # Errors
    /// If a claim is not a list of names, or of patterns.
    pub(crate) fn read(claims: &Map<String, Value>, rooms: &str, join: &str) -> Result<Self, InvalidClaims> {
        let rooms =
            list(claims.get(rooms), |name| check_room_name(name).map(|()| name.to_owned()))?.unwrap_or_default();
        let joinable = list(claims.get(join), RoomPattern::parse)?.map(Vec::into_boxed_slice);
        Ok(Self { rooms, joinable })
    }
}

/// A claim about rooms is not a list of names, or of patterns.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InvalidClaims;

/// The items of a claim. `None` if there is no claim.
fn list<T>(claim: Option<&Value>, read: impl Fn(&str) -> Result<T, NotARoom>) -> Result<Option<Vec<T>>, InvalidClaims> {
    let list = match claim {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(list)) if list.len() <= ROOMS_MAX => list,
        Some(_) => return Err(InvalidClaims),
    };
    let item = |item: &Value| read(item.as_str().ok_or(InvalidClaims)?).map_err(|_| InvalidClaims);
    list.iter().map(item).collect::<Result<_, _>>().map(Some)
}

/// Checks the name of a room that a token names or a client asks for.
///
/// # Errors
/// If a client must not be in such a room by these means.
pub(crate) fn check_room_name(name: &str) -> Result<(), NotARoom> {
    match name {
        "" => Err(NotARoom::Empty),
        long if long.len() > ROOM_NAME_LEN_MAX => Err(NotARoom::TooLong),
        reserved if reserved.starts_with("user(") || reserved.starts_with("site(") => Err(NotARoom::Reserved),
        other if other.chars().any(char::is_control) => Err(NotARoom::ControlCharacter),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn a_pattern_matches_names_of_its_form() {
        let matches = |pattern: &str, room: &str| RoomPattern::parse(pattern).unwrap().matches(room);
        for (pattern, room) in
            [("team(*)", "team(7)"), ("team(*)", "team(*)"), ("a:*", "a:b:c"), ("lobby", "lobby"), ("*!", "x!")]
        {
            assert!(matches(pattern, room), "{pattern} {room}");
        }
        for (pattern, room) in [
            ("team(*)", "team()"),
            ("team(*)", "team("),
            ("team(*)", "steam(7)"),
            ("a:*", "b:c"),
            ("lobby", "lobby2"),
            ("ab*ba,", "aba,"),
        ] {
            assert!(!matches(pattern, room), "{pattern} {room}");
        }
    }

    #[test]
    fn patterns_that_reach_too_far_are_refused() {
        for (pattern, why) in [
            ("", NotARoom::Empty),
            ("*", NotARoom::SocketId),
            ("team-*_x", NotARoom::SocketId),
            ("user(*)", NotARoom::Reserved),
            ("site(example.com)", NotARoom::Reserved),
            ("a(*)(*)", NotARoom::Wildcards),
            ("a\nb", NotARoom::ControlCharacter),
        ] {
            assert_eq!(RoomPattern::parse(pattern), Err(why), "{pattern:?}");
        }
        assert_eq!(RoomPattern::parse(&"x".repeat(ROOM_NAME_LEN_MAX + 1)), Err(NotARoom::TooLong));
        assert!(RoomPattern::parse(&"x".repeat(ROOM_NAME_LEN_MAX)).is_ok());
    }

    #[test]
    fn claims_are_lists_of_names_and_of_patterns() {
        let read = |claims: Value| RoomClaims::read(claims.as_object().unwrap(), "rooms", "join");
        let all = read(json!({"rooms": ["team(7)", "lobby"], "join": ["team(*)"]})).unwrap();
        assert_eq!(all.rooms, ["team(7)", "lobby"]);
        assert!(all.joinable.unwrap()[0].matches("team(8)"));
        assert_eq!(read(json!({"id": 1})), Ok(RoomClaims::default()));
        assert_eq!(read(json!({"join": []})).unwrap().joinable.map(|all| all.len()), Some(0));
        let many = vec!["a:*"; ROOMS_MAX + 1];
        for wrong in [
            json!({"rooms": "team(7)"}),
            json!({"rooms": [7]}),
            json!({"rooms": many}),
            json!({"rooms": ["user(2)"]}),
            json!({"rooms": ["site(example.com)"]}),
            json!({"rooms": [""]}),
            json!({"join": {"a": 1}}),
            json!({"join": ["*"]}),
            json!({"join": ["user(*)"]}),
            json!({"join": many}),
        ] {
            assert_eq!(read(wrong.clone()), Err(InvalidClaims), "{wrong}");
        }
    }

    proptest! {
        /// No wildcard reaches the room of a socket's id.
        #[test]
        fn no_wildcard_matches_the_id_of_a_socket(before in "[a-zA-Z0-9_(:-]{0,6}", after in "[a-zA-Z0-9_):-]{0,6}", id in "[A-Za-z0-9_-]{16,20}") {
            if let Ok(pattern) = RoomPattern::parse(&format!("{before}*{after}")) {
                prop_assert!(!pattern.matches(&id));
            }
        }

        /// A pattern matches exactly the names that it gives if its `*` is replaced.
        #[test]
        fn a_wildcard_stands_for_any_text(before in "[a-c(]{0,3}", after in "[a-c)]{0,3}", room in "[a-c()]{0,8}") {
            let Ok(pattern) = RoomPattern::parse(&format!("{before}*{after}")) else { return Ok(()) };
            let expected = room.strip_prefix(before.as_str()).and_then(|rest| rest.strip_suffix(after.as_str())).is_some_and(|rest| !rest.is_empty());
            prop_assert_eq!(pattern.matches(&room), expected);
        }
    }
}
