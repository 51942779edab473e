//! Requests to socket.io's path, and their refusal with the codes and messages of Node's server.

use crate::connection::Protocol;
use crate::gateway::handshake::query;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use serde::Serialize;
use std::time::Duration;
use tungstenite::handshake::derive_accept_key;

/// The operation that a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// Begin a session with polling.
    Open(Protocol),
    /// Poll the session with this secret.
    Poll(String),
    /// Post packets to the session with this secret.
    Post(String),
    /// Begin a session with a WebSocket. The value is the `Sec-WebSocket-Accept` of the response.
    OpenWebSocket(Protocol, HeaderValue),
    /// Upgrade the session with this secret to a WebSocket. The value is the `Sec-WebSocket-Accept` of the response.
    Upgrade(String, HeaderValue),
}

/// Time after which a refused client may retry, unless a limit says when.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Why a request is refused. The first four have Node's codes and messages (engine.io 6, `Server.errors`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    UnknownTransport,
    UnknownSession,
    BadHandshakeMethod,
    /// Another reason, named by the text.
    Other(&'static str),
    /// Too many clients are unauthenticated.
    TooMany,
    /// The server is shutting down.
    Stopping,
    /// The node has too many connections.
    Full,
    /// The client's address or network has too many connections, or too many handshakes. It may retry after this time.
    TooManyFromThere(Duration),
    /// The library did not write the open packet in time.
    NotBegun,
    /// The body did not arrive in time.
    TooSlow,
    /// The body is longer than `maxPayload`.
    TooLong,
}

#[derive(Serialize)]
struct Refusal {
    code: u8,
    message: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<Context>,
}

#[derive(Serialize)]
struct Context {
    name: &'static str,
}

impl Operation {
    /// # Errors
    /// [`Refused`], in the same cases as Node's server with `allowEIO3`.
    pub(super) fn read<B>(request: &Request<B>) -> Result<Self, Refused> {
        let (uri, method) = (request.uri(), request.method());
        // Any value except 4, and none, means 3, as in Node.
        let protocol = if query(uri, "EIO").as_deref() == Some("4") { Protocol::V4 } else { Protocol::V3 };
        let sid = query(uri, "sid");
        match (query(uri, "transport").as_deref(), sid) {
            (Some("polling"), _) if query(uri, "j").is_some() => Err(Refused::Other("JSONP is not served")),
            (Some("polling"), Some(sid)) if method == Method::GET => Ok(Self::Poll(sid)),
            (Some("polling"), Some(sid)) if method == Method::POST => Ok(Self::Post(sid)),
            (Some("polling"), Some(_)) => Err(Refused::Other("expected GET or POST")),
            (Some("polling"), None) if method == Method::GET => Ok(Self::Open(protocol)),
            (Some("websocket"), None) if method == Method::GET => {
                Ok(Self::OpenWebSocket(protocol, accept(request.headers())?))
            }
            (Some("websocket"), Some(sid)) if method == Method::GET => {
                Ok(Self::Upgrade(sid, accept(request.headers())?))
            }
            (Some("polling" | "websocket"), _) => Err(Refused::BadHandshakeMethod),
            _ => Err(Refused::UnknownTransport),
        }
    }
}

/// The `Sec-WebSocket-Accept` of the response (RFC 6455, section 4.2).
fn accept(headers: &HeaderMap) -> Result<HeaderValue, Refused> {
    let has = |name: header::HeaderName, word: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|it| it.trim().eq_ignore_ascii_case(word))
    };
    if !has(header::CONNECTION, "upgrade") || !has(header::UPGRADE, "websocket") {
        return Err(Refused::Other(
            "expected an upgrade to a WebSocket; does a proxy drop the headers Upgrade and Connection?",
        ));
    }
    if !has(header::SEC_WEBSOCKET_VERSION, "13") {
        return Err(Refused::Other("expected Sec-WebSocket-Version: 13"));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|key| key.len() == 24 && key.as_bytes().ends_with(b"=="));
    let key = key.ok_or(Refused::Other("expected a Sec-WebSocket-Key of 16 bytes in base64"))?;
    Ok(derive_accept_key(key.as_bytes()).parse().expect("base64 is a header's value"))
}

impl Refused {
    pub(super) fn response(self) -> Response<Body> {
        let (code, message, context) = match self {
            Self::UnknownTransport => (0, "Transport unknown", None),
            Self::UnknownSession => (1, "Session ID unknown", None),
            Self::BadHandshakeMethod => (2, "Bad handshake method", None),
            Self::Other(name) => (3, "Bad request", Some(Context { name })),
            Self::TooMany => return unavailable("too many unauthenticated clients\n"),
            Self::Stopping => return elsewhere(),
            Self::Full => return unavailable("too many connections\n"),
            Self::TooManyFromThere(wait) => {
                let why = "too many connections or handshakes from this address\n";
                return later(StatusCode::TOO_MANY_REQUESTS, why, wait);
            }
            Self::NotBegun => return unavailable("the session could not be opened in time\n"),
            Self::TooSlow => return text(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time\n"),
            Self::TooLong => {
                return text(StatusCode::PAYLOAD_TOO_LARGE, "the body is longer than maxPayload of the open packet\n");
            }
        };
        let body = serde_json::to_vec(&Refusal { code, message, context }).expect("texts and numbers are JSON");
        let mut response = Response::new(body.into());
        *response.status_mut() = StatusCode::BAD_REQUEST;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

fn unavailable(why: &'static str) -> Response<Body> {
    later(StatusCode::SERVICE_UNAVAILABLE, why, RETRY_AFTER)
}

fn later(status: StatusCode, why: &'static str, wait: Duration) -> Response<Body> {
    let mut response = text(status, why);
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)));
    response
}

/// The client connects anew, and a balancer may choose another server.
fn elsewhere() -> Response<Body> {
    let mut response = unavailable("the server is shutting down\n");
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn text(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(method: &str, query: &str, headers: &[(&str, &str)]) -> Result<Operation, Refused> {
        let mut request = Request::builder().method(method).uri(format!("/socket.io/{query}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Operation::read(&request.body(()).unwrap())
    }

    #[test]
    fn requests_are_understood_as_in_node() {
        assert_eq!(operation("GET", "?EIO=4&transport=polling", &[]), Ok(Operation::Open(Protocol::V4)));
        for three in ["?EIO=3&transport=polling", "?transport=polling", "?EIO=9&transport=polling&sid="] {
            assert_eq!(operation("GET", three, &[]), Ok(Operation::Open(Protocol::V3)), "{three}");
        }
        assert_eq!(operation("GET", "?EIO=4&transport=polling&sid=a", &[]), Ok(Operation::Poll("a".into())));
        assert_eq!(operation("POST", "?EIO=4&transport=polling&sid=a", &[]), Ok(Operation::Post("a".into())));
        assert_eq!(operation("POST", "?EIO=4&transport=polling", &[]), Err(Refused::BadHandshakeMethod));
        assert_eq!(operation("GET", "?EIO=4&transport=pigeon", &[]), Err(Refused::UnknownTransport));
        assert_eq!(operation("GET", "", &[]), Err(Refused::UnknownTransport));
    }

    #[test]
    fn an_invalid_websocket_handshake_is_refused_with_the_reason() {
        let all = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let accepted = HeaderValue::from_static("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(
            operation("GET", "?EIO=4&transport=websocket", &all),
            Ok(Operation::OpenWebSocket(Protocol::V4, accepted))
        );
        for without in 0..all.len() {
            let headers: Vec<_> =
                all.iter().enumerate().filter(|(n, _)| *n != without).map(|(_, header)| *header).collect();
            assert!(
                matches!(operation("GET", "?EIO=4&transport=websocket", &headers), Err(Refused::Other(_))),
                "{headers:?}"
            );
        }
        assert!(
            operation("GET", "?EIO=4&transport=websocket", &[&all[..3], &[("sec-websocket-key", "short")]].concat())
                .is_err()
        );
    }
}
