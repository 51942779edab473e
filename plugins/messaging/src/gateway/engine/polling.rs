//! The polling transport: handshakes, polls and POSTs.

use super::payload::{self, Payload};
use super::request::Refused;
use super::{Engine, Peer};
use crate::connection::Protocol;
use crate::connection::{Connection, Polled};
use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Time for the library to write the open packet. Exceeded only if the machine is overloaded.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a client to send a body, so that no client holds memory by sending slowly.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// During an upgrade a poll is answered after this time, as in Node.
const UPGRADE_POLL_TIMEOUT: Duration = Duration::from_millis(100);

type Answer = Result<Response<Body>, Refused>;

impl Engine {
    pub(super) async fn open(&self, protocol: Protocol, request: Request<Body>, peer: &Peer) -> Answer {
        let (head, _) = request.into_parts();
        let connection = self.begin_polling(protocol, head, peer)?;
        let secret = self.sessions.register(&connection);
        let opened = timeout(OPEN_TIMEOUT, connection.poll(UPGRADE_POLL_TIMEOUT)).await;
        let Ok(Polled::Frames(frames)) = opened else {
            connection.abort();
            return Err(Refused::NotBegun);
        };
        let mut payload = Payload::default();
        frames.iter().for_each(|frames| payload.add(protocol, frames, |open| open_packet(open, &secret)));
        Ok(payload_response(&connection, payload))
    }

    pub(super) async fn poll(&self, secret: &str) -> Answer {
        let connection = self.polling(secret)?;
        let mut payload = Payload::default();
        match connection.poll(UPGRADE_POLL_TIMEOUT).await {
            Polled::Frames(frames) => {
                frames.iter().for_each(|frames| payload.add(connection.protocol, frames, |_| None))
            }
            Polled::Superseded => return Err(Refused::Other("a later poll has replaced this one")),
            // A close packet, as in Node.
            Polled::Closed => payload.push(connection.protocol, "1"),
        }
        if payload.is_empty() {
            payload.push(connection.protocol, "6");
        }
        Ok(payload_response(&connection, payload))
    }

    pub(super) async fn post(&self, secret: &str, request: Request<Body>) -> Answer {
        let connection = self.polling(secret)?;
        let is_binary = request
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/octet-stream"));
        let body = Limited::new(request.into_body(), self.max_payload).collect();
        let body = match timeout(BODY_TIMEOUT, body).await {
            Err(_) => return Err(Refused::TooSlow),
            Ok(Err(e)) if e.is::<LengthLimitError>() => return Err(Refused::TooLong),
            Ok(Err(_)) => return Err(Refused::Other("the body ended early")),
            Ok(Ok(body)) => body.to_bytes(),
        };
        connection.count_received(body.len());
        let frames = payload::decode(connection.protocol, &body, is_binary).map_err(|error| {
            tracing::debug!(%error, "a client sent an invalid payload");
            connection.set_close_reason("parse error");
            connection.abort();
            Refused::Other("the body is not a payload")
        })?;
        match timeout(BODY_TIMEOUT, connection.post(frames)).await {
            Ok(true) => Ok(html("ok")),
            _ => Err(Refused::UnknownSession),
        }
    }

    fn polling(&self, secret: &str) -> Result<Arc<Connection>, Refused> {
        let connection = self.sessions.get(secret).ok_or(Refused::UnknownSession)?;
        match connection.is_polling() {
            true => Ok(connection),
            false => Err(Refused::Other("TRANSPORT_MISMATCH")),
        }
    }
}

/// The open packet for a client that polls: with the session's secret, and `websocket` as an upgrade.
fn open_packet(open: &str, secret: &str) -> Option<String> {
    let mut open: Map<String, Value> = serde_json::from_str(open).ok()?;
    open.insert("sid".into(), secret.into());
    open.insert("upgrades".into(), Value::from(vec!["websocket"]));
    Some(format!("0{}", Value::Object(open)))
}

fn payload_response(connection: &Connection, payload: Payload) -> Response<Body> {
    let text = payload.into_text();
    connection.count_sent(text.len());
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=UTF-8"));
    // A cached response would give two clients the same session.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn html(text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
