//! Reads tokens: signed JWTs in the compact form (RFC 7515, RFC 7519).

use super::rejection::Rejection;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

/// Longer tokens are refused before any work.
const TOKEN_BYTES_MAX: usize = 16 << 10;

/// A token whose signature and claims are still to be checked.
pub(super) struct Token<'a> {
    /// `None` if it is not supported.
    pub(super) algorithm: Option<Algorithm>,
    pub(super) key_id: Option<String>,
    pub(super) claims: Map<String, Value>,
    /// What is signed.
    pub(super) message: &'a [u8],
    /// Valid base64.
    pub(super) signature: &'a str,
}

impl<'a> Token<'a> {
    /// Takes nothing from the header except `alg`, `kid` and `crit`: keys that a token brings along (`jwk`, `jku`, `x5u`,
    /// `x5c`) say nothing about who signed it.
    pub(super) fn read(text: &'a str) -> Result<Self, Rejection> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(Rejection::TOO_LARGE);
        }
        let Ok([header, claims, signature]) = <[&str; 3]>::try_from(text.split('.').collect::<Vec<_>>()) else {
            return Err(Rejection::MALFORMED);
        };
        let message = &text.as_bytes()[..header.len() + 1 + claims.len()];
        let (header, claims) = (object(header)?, object(claims)?);
        if signature.is_empty() {
            return Err(Rejection::UNSIGNED);
        }
        if header.contains_key("crit") {
            return Err(Rejection::CRITICAL);
        }
        let key_id = match header.get("kid") {
            None => None,
            Some(id) => Some(id.as_str().ok_or(Rejection::UNREADABLE)?.to_owned()),
        };
        let algorithm = header.get("alg").and_then(Value::as_str).and_then(|name| name.parse().ok());
        // Before its algorithm, as Node does.
        decoded(signature)?;
        Ok(Self { algorithm, key_id, claims, message, signature })
    }
}

fn object(part: &str) -> Result<Map<String, Value>, Rejection> {
    serde_json::from_slice(&decoded(part)?).map_err(|_| Rejection::UNREADABLE)
}

fn decoded(part: &str) -> Result<Vec<u8>, Rejection> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Rejection::UNREADABLE)
}
