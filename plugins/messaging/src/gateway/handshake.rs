//! The data of a handshake: auth payload, token, recorded headers.

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

/// Longer headers are recorded truncated, so that no client can fill the disk. Those of browsers are shorter.
const HEADER_LEN_MAX: usize = 512;
/// Longer auth payloads are not kept.
const AUTH_LEN_MAX: usize = 4096;
/// Maximum number of refused tokens of a client. One with more guesses tokens or runs in a loop; other clients get a
/// new token from their backend or give up.
pub(super) const REFUSALS_MAX: u32 = 10;

/// The auth payload of a CONNECT packet.
#[derive(Default)]
pub(super) struct Auth {
    pub(super) token: Option<String>,
    /// The other fields, a JSON object. `None` if there are none, or they are longer than [`AUTH_LEN_MAX`].
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
            .filter(|rest| !fields.is_empty() && rest.get().len() <= AUTH_LEN_MAX);
        Self { token, rest }
    }
}

/// The number of a client's refused tokens in all namespaces. Stored in the extensions of its handshake's request.
#[derive(Clone, Default)]
pub(super) struct Refusals(Arc<AtomicU32>);

impl Refusals {
    pub(super) fn of(parts: &Parts) -> Self {
        parts.extensions.get().cloned().unwrap_or_default()
    }

    /// Counts a refused token. Returns their number.
    pub(super) fn add(&self) -> u32 {
        self.0.fetch_add(1, Relaxed) + 1
    }

    pub(super) fn are_too_many(&self) -> bool {
        self.0.load(Relaxed) >= REFUSALS_MAX
    }
}

/// The token in the handshake's request: `?token=`, else `Authorization: Bearer`.
pub(super) fn request_token(parts: &Parts) -> Option<String> {
    query(&parts.uri, "token").or_else(|| {
        let (scheme, token) = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
    })
}

/// The value of a query parameter, if it is not empty. It is not unescaped, because tokens need no escapes.
pub(super) fn query(uri: &Uri, name: &str) -> Option<String> {
    let pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, value)| *key == name && !value.is_empty()).map(|(_, value)| value.to_owned()).next()
}

/// A header for a row: bytes that are not UTF-8 become replacement characters, and long values are truncated.
pub(super) fn recorded(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    let bytes = headers.get(name)?.as_bytes();
    // Up to 3 bytes more, so that the last character is whole.
    let mut text = String::from_utf8_lossy(&bytes[..bytes.len().min(HEADER_LEN_MAX + 3)]).into_owned();
    text.truncate(text.floor_char_boundary(HEADER_LEN_MAX));
    Some(text)
}

/// The client's connection, from the extensions of its handshake's request.
pub(super) fn connection(parts: &Parts) -> Arc<Connection> {
    parts.extensions.get::<Arc<Connection>>().cloned().expect("the engine adds the connection to each handshake")
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn a_header_is_recorded_as_text_of_limited_length() {
        let recorded = |bytes: &[u8]| {
            let headers = HeaderMap::from_iter([(header::USER_AGENT, HeaderValue::from_bytes(bytes).unwrap())]);
            recorded(&headers, header::USER_AGENT).unwrap()
        };
        assert_eq!(recorded("Grüße ☃ 😀".as_bytes()), "Grüße ☃ 😀");
        assert_eq!(recorded(b"caf\xe9 \xff"), "caf\u{fffd} \u{fffd}");
        assert_eq!(recorded(b""), "");
        for text in ["a", "ü", "☃", "😀"] {
            let whole = HEADER_LEN_MAX / text.len() * text.len();
            assert_eq!(recorded(text.repeat(5000).as_bytes()), text.repeat(whole / text.len()));
        }
        assert!(recorded(&[0xff; 5000]).len() <= HEADER_LEN_MAX);
        assert_eq!(super::recorded(&HeaderMap::new(), header::USER_AGENT), None);
    }

    #[test]
    fn the_auth_payload_is_kept_without_the_token() {
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
            read(&format!(r#"{{"token":"x","long":"{}"}}"#, "a".repeat(AUTH_LEN_MAX))),
            (Some("x".into()), None)
        );
    }
}
