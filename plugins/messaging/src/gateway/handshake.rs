//! The token that comes with a handshake, and whom it comes from.

use super::link::Link;
use crate::fanout::Fanout;
use axum::http::{HeaderMap, Uri, header, request::Parts};
use serde::Deserialize;
use socketioxide::handler::FromConnectParts;
use socketioxide::socket::Socket;
use socketioxide_core::Value;
use std::convert::Infallible;
use std::sync::Arc;

/// The auth payload of a CONNECT packet: its token, where there is one.
pub(super) struct ConnectToken(pub(super) Option<String>);

#[derive(Deserialize)]
struct Payload {
    token: String,
}

impl FromConnectParts<Fanout> for ConnectToken {
    type Error = Infallible;

    fn from_connect_parts(_: &Arc<Socket<Fanout>>, auth: &Option<Value>) -> Result<Self, Infallible> {
        let text = auth.as_ref().and_then(|value| match value {
            Value::Str(text, _) => Some(text.as_str()),
            Value::Bytes(_) => None,
        });
        Ok(Self(text.and_then(|t| serde_json::from_str::<Payload>(t).ok()).map(|p| p.token)))
    }
}

/// The token in the handshake's request: `?token=`, else `Authorization: Bearer`.
pub(super) fn request_token(parts: &Parts) -> Option<String> {
    query(&parts.uri, "token").or_else(|| {
        let (scheme, token) = text(&parts.headers, header::AUTHORIZATION)?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
    })
}

/// The value of a query parameter, where it is there and not empty. Tokens have no characters that are escaped.
pub(super) fn query(uri: &Uri, name: &str) -> Option<String> {
    let pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, value)| *key == name && !value.is_empty()).map(|(_, value)| value.to_owned()).next()
}

pub(super) fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// The TCP connection that a request came over.
pub(super) fn link(parts: &Parts) -> Arc<Link> {
    parts.extensions.get::<Arc<Link>>().cloned().expect("the listener gives each request its link")
}
