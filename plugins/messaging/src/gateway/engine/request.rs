//! What a request to socket.io's path asks for, and how it is refused in the words of Node's server.

use crate::connection::Protocol;
use crate::gateway::handshake::query;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use serde::Serialize;
use tungstenite::handshake::derive_accept_key;

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// A session that begins with polling.
    Open(Protocol),
    /// What waits for the client of the session with this secret.
    Poll(String),
    /// To take packets from it.
    Post(String),
    /// A WebSocket: a session's that begins with it.
    OpenWebSocket(Protocol, HeaderValue),
    /// A WebSocket for the session with this secret. The value is the answer to its key.
    Upgrade(String, HeaderValue),
}

/// A client that is refused for the number of those who are there may come again after so long.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// Why a request is refused: Node's codes and messages (engine.io 6, `Server.errors`), and what Node does not refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    UnknownTransport,
    UnknownSession,
    BadHandshakeMethod,
    /// Something else, which the text names.
    Other(&'static str),
    /// Too many clients are there that have not authenticated.
    TooMany,
    /// The library did not begin the session in time.
    NotBegun,
    /// The body did not come in time.
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

impl Ask {
    /// # Errors
    /// [`Refused`], as Node's server decides with `allowEIO3`.
    pub(super) fn read<B>(request: &Request<B>) -> Result<Self, Refused> {
        let (uri, method) = (request.uri(), request.method());
        // Whatever is not 4 is 3, also where there is none: as Node.
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

/// The answer to a WebSocket's key (RFC 6455, section 4.2).
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
            Self::TooMany => return unavailable("too many clients have not authenticated yet\n"),
            Self::NotBegun => return unavailable("the session could not begin\n"),
            Self::TooSlow => return text(StatusCode::REQUEST_TIMEOUT, "the body did not come in time\n"),
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
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, why);
    response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
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

    fn ask(method: &str, query: &str, headers: &[(&str, &str)]) -> Result<Ask, Refused> {
        let mut request = Request::builder().method(method).uri(format!("/socket.io/{query}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Ask::read(&request.body(()).unwrap())
    }

    #[test]
    fn each_request_is_what_node_takes_it_for() {
        assert_eq!(ask("GET", "?EIO=4&transport=polling", &[]), Ok(Ask::Open(Protocol::V4)));
        for three in ["?EIO=3&transport=polling", "?transport=polling", "?EIO=9&transport=polling&sid="] {
            assert_eq!(ask("GET", three, &[]), Ok(Ask::Open(Protocol::V3)), "{three}");
        }
        assert_eq!(ask("GET", "?EIO=4&transport=polling&sid=a", &[]), Ok(Ask::Poll("a".into())));
        assert_eq!(ask("POST", "?EIO=4&transport=polling&sid=a", &[]), Ok(Ask::Post("a".into())));
        assert_eq!(ask("POST", "?EIO=4&transport=polling", &[]), Err(Refused::BadHandshakeMethod));
        assert_eq!(ask("GET", "?EIO=4&transport=pigeon", &[]), Err(Refused::UnknownTransport));
        assert_eq!(ask("GET", "", &[]), Err(Refused::UnknownTransport));
    }

    #[test]
    fn a_request_that_cannot_become_a_websocket_is_refused_with_the_reason() {
        let all = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let accepted = HeaderValue::from_static("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(ask("GET", "?EIO=4&transport=websocket", &all), Ok(Ask::OpenWebSocket(Protocol::V4, accepted)));
        for without in 0..all.len() {
            let headers: Vec<_> =
                all.iter().enumerate().filter(|(n, _)| *n != without).map(|(_, header)| *header).collect();
            assert!(
                matches!(ask("GET", "?EIO=4&transport=websocket", &headers), Err(Refused::Other(_))),
                "{headers:?}"
            );
        }
        assert!(
            ask("GET", "?EIO=4&transport=websocket", &[&all[..3], &[("sec-websocket-key", "short")]].concat()).is_err()
        );
    }
}
