//! What the endpoint is asked, and what it answers.

use crate::auth::{ROOMS_MAX, check_room_name};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::net::IpAddr;

/// Longest reason of a refusal, in bytes. Longer ones are truncated.
const REASON_LEN_MAX: usize = 256;
/// The reason if the endpoint names none.
const NO_REASON: &str = "not allowed";

/// A question, as the body of a request.
#[derive(Debug, Serialize)]
#[serde(tag = "question", rename_all = "lowercase")]
pub(crate) enum Question<'a> {
    /// May this client, whose token is valid, be this user here?
    Connect {
        /// The user.
        user: &'a str,
        site: Option<&'a str>,
        namespace: &'a str,
        address: IpAddr,
        /// The configured claims of the token.
        claims: Map<String, Value>,
    },
    /// May the user push this event?
    Push {
        /// The user.
        user: &'a str,
        site: Option<&'a str>,
        namespace: &'a str,
        address: IpAddr,
        event: &'a str,
        /// The arguments as a JSON array, with the attachments in base64.
        args: &'a RawValue,
    },
}

impl Question<'_> {
    /// The label of metrics.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Connect { .. } => "connect",
            Self::Push { .. } => "push",
        }
    }
}

/// Whether something is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Yes. A connecting client joins these rooms.
    Allowed(Vec<String>),
    /// No, with the reason for the client.
    Refused(String),
}

#[derive(Deserialize)]
struct Body {
    allow: bool,
    #[serde(default)]
    rooms: Vec<String>,
    reason: Option<String>,
}

impl Decision {
    /// Reads the body of a response.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(body: &[u8]) -> Result<Self, String> {
        let Body { allow, rooms, reason } =
            serde_json::from_slice(body).map_err(|e| format!("the answer is wrong: {e}"))?;
        if rooms.len() > ROOMS_MAX {
            return Err(format!("the answer has more than {ROOMS_MAX} rooms"));
        }
        if let Some((room, why)) = rooms.iter().find_map(|room| Some((room, check_room_name(room).err()?))) {
            return Err(format!("the answer has a wrong room, {room:?}: {why}"));
        }
        Ok(match allow {
            true => Self::Allowed(rooms),
            false => {
                let mut reason = reason.unwrap_or_else(|| NO_REASON.to_owned());
                reason.truncate(reason.floor_char_boundary(REASON_LEN_MAX));
                Self::Refused(reason)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_answer_is_read_exactly_or_not_at_all() {
        let read = |body: &str| Decision::read(body.as_bytes());
        assert_eq!(read(r#"{"allow": true}"#), Ok(Decision::Allowed(Vec::new())));
        assert_eq!(
            read(r#"{"allow": true, "rooms": ["team(7)"], "more": 1}"#),
            Ok(Decision::Allowed(vec!["team(7)".into()]))
        );
        assert_eq!(read(r#"{"allow": false, "reason": "no"}"#), Ok(Decision::Refused("no".into())));
        assert_eq!(read(r#"{"allow": false}"#), Ok(Decision::Refused(NO_REASON.into())));
        for wrong in [
            "",
            "true",
            "{}",
            r#"{"allow": 1}"#,
            r#"{"allow": "true"}"#,
            r#"{"allow": true, "rooms": ["user(2)"]}"#,
            r#"{"allow": true, "rooms": "a"}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_reason_is_short(reason in "\\PC{0,300}") {
            let body = serde_json::json!({"allow": false, "reason": reason}).to_string();
            let Ok(Decision::Refused(read)) = Decision::read(body.as_bytes()) else { panic!("{body}") };
            prop_assert!(read.len() <= REASON_LEN_MAX && reason.starts_with(&read));
        }
    }
}
