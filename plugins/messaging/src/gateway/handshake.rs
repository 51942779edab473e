//! What comes with a handshake: the token, and who it comes from.

use crate::connection::Connection;
use crate::namespace::Namespace;
use axum::http::{HeaderMap, Uri, header, request::Parts};
use serde_json::value::RawValue;
use socketioxide::handler::FromConnectParts;
use socketioxide::socket::Socket;
use socketioxide_core::Value;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// So much of a header is recorded. Browsers' own are shorter; who sends more wants to fill a disk.
const LONGEST_HEADER: usize = 512;
/// So much of what a client says of itself is kept as long as it is connected.
const LONGEST_AUTH: usize = 4096;
/// Whose token is refused gets another one from its backend, or gives up. Who goes on guesses, or is a program in a
/// loop.
const MOST_REFUSALS: u32 = 10;

/// The auth payload of a CONNECT packet.
#[derive(Default)]
pub(super) struct Auth {
    pub(super) token: Option<String>,
    /// What else there is, a JSON object; none if that is nothing, or too much.
    pub(super) rest: Option<Box<RawValue>>,
}

impl FromConnectParts<Namespace> for Auth {
    type Error = Infallible;

    fn from_connect_parts(_: &Arc<Socket<Namespace>>, auth: &Option<Value>) -> Result<Self, Infallible> {
        Ok(match auth {
            Some(Value::Str(text, _)) => Self::read(text),
            _ => Self::default(),
        })
    }
}

impl Auth {
    fn read(text: &str) -> Self {
        let Ok(mut fields) = serde_json::from_str::<BTreeMap<String, &RawValue>>(text) else { return Self::default() };
        let token = fields.remove("token").and_then(|token| serde_json::from_str(token.get()).ok());
        let rest = serde_json::value::to_raw_value(&fields)
            .ok()
            .filter(|rest| !fields.is_empty() && rest.get().len() <= LONGEST_AUTH);
        Self { token, rest }
    }
}

/// How often a client was refused, over all namespaces. In the extensions of its handshake's request.
#[derive(Clone, Default)]
pub(super) struct Refusals(Arc<AtomicU32>);

impl Refusals {
    pub(super) fn of(parts: &Parts) -> Self {
        parts.extensions.get().cloned().unwrap_or_default()
    }

    /// Counts one more; returns whether it was the last one that is borne.
    pub(super) fn add(&self) -> bool {
        self.0.fetch_add(1, Relaxed) + 1 == MOST_REFUSALS
    }

    pub(super) fn are_too_many(&self) -> bool {
        self.0.load(Relaxed) >= MOST_REFUSALS
    }
}

/// The token in the handshake's request: `?token=`, else `Authorization: Bearer`.
pub(super) fn request_token(parts: &Parts) -> Option<String> {
    query(&parts.uri, "token").or_else(|| {
        let (scheme, token) = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
    })
}

/// The value of a query parameter, where it is there and not empty. Tokens have no characters that are escaped.
pub(super) fn query(uri: &Uri, name: &str) -> Option<String> {
    let pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, value)| *key == name && !value.is_empty()).map(|(_, value)| value.to_owned()).next()
}

/// A header as rows have it: what is not UTF-8 becomes replacement characters, and what is too long is cut off.
pub(super) fn recorded(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    let bytes = headers.get(name)?.as_bytes();
    // Longer than needed, so that a character is cut off only at the end of the text.
    let mut text = String::from_utf8_lossy(&bytes[..bytes.len().min(LONGEST_HEADER + 3)]).into_owned();
    text.truncate(text.floor_char_boundary(LONGEST_HEADER));
    Some(text)
}

/// The TCP connection that a request came over.
pub(super) fn connection(parts: &Parts) -> Arc<Connection> {
    parts.extensions.get::<Arc<Connection>>().cloned().expect("the listener gives each request its connection")
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn a_header_is_recorded_as_text_of_a_bounded_length() {
        let recorded = |bytes: &[u8]| {
            let headers = HeaderMap::from_iter([(header::USER_AGENT, HeaderValue::from_bytes(bytes).unwrap())]);
            recorded(&headers, header::USER_AGENT).unwrap()
        };
        assert_eq!(recorded("Grüße ☃ 😀".as_bytes()), "Grüße ☃ 😀");
        assert_eq!(recorded(b"caf\xe9 \xff"), "caf\u{fffd} \u{fffd}");
        assert_eq!(recorded(b""), "");
        for text in ["a", "ü", "☃", "😀"] {
            let whole = LONGEST_HEADER / text.len() * text.len();
            assert_eq!(recorded(text.repeat(5000).as_bytes()), text.repeat(whole / text.len()));
        }
        assert!(recorded(&[0xff; 5000]).len() <= LONGEST_HEADER);
        assert_eq!(super::recorded(&HeaderMap::new(), header::USER_AGENT), None);
    }

    #[test]
    fn what_comes_beside_the_token_is_kept_without_it() {
        let read = |text: &str| {
            let Auth { token, rest } = Auth::read(text);
            (token, rest.map(|rest| rest.get().to_owned()))
        };
        assert_eq!(read(r#"{"token":"x"}"#), (Some("x".into()), None));
        assert_eq!(
            read(r#"{"token":"x","device":"phone","n":[1.50]}"#),
            (Some("x".into()), Some(r#"{"device":"phone","n":[1.50]}"#.into()))
        );
        assert_eq!(read(r#"{"token":7,"a":null}"#), (None, Some(r#"{"a":null}"#.into())));
        assert_eq!(read("[1]"), (None, None));
        assert_eq!(
            read(&format!(r#"{{"token":"x","long":"{}"}}"#, "a".repeat(LONGEST_AUTH))),
            (Some("x".into()), None)
        );
    }
}
