//! Access control of the admin listener.

use super::refusal::refuse;
use crate::config::Secret;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use greyhound_sdk::local::is_local;
use std::sync::Arc;

/// Admits callers with the token and, if configured, programs with a certificate and programs on this machine.
#[derive(Clone)]
pub(super) struct Gate {
    token: Option<Arc<[u8]>>,
    allow_loopback: bool,
    /// Whether every caller has shown a certificate of an authority that is configured.
    certified: bool,
}

impl Gate {
    pub(super) fn new(token: Option<Secret>, allow_loopback: bool, certified: bool) -> Self {
        Self { token: token.map(|t| t.reveal().as_bytes().into()), allow_loopback, certified }
    }

    fn admits(&self, request: &Request) -> bool {
        let bearer = request.headers().get(header::AUTHORIZATION).and_then(|h| h.as_bytes().strip_prefix(b"Bearer "));
        match (&self.token, bearer) {
            (Some(token), Some(given)) => same(token, given),
            _ => (self.certified || self.allow_loopback && is_local(request)) && !is_page(request),
        }
    }
}

pub(super) async fn check(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    if gate.admits(&request) {
        return next.run(request).await;
    }
    let error = "not allowed: send `Authorization: Bearer <admin.token>`, or call from this machine if admin.allow_loopback is on";
    refuse(StatusCode::UNAUTHORIZED, error)
}

/// Compares in a time that does not depend on where the two differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (x, y)| difference | (x ^ y)) == 0
}

/// Whether the call may come from a browser on behalf of a page of another site.
fn is_page(request: &Request) -> bool {
    request.headers().contains_key(header::ORIGIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::extract::ConnectInfo;
    use std::net::SocketAddr;

    /// Returns a request from `peer` with these headers.
    fn request(peer: &str, headers: &[(&str, &str)]) -> Request {
        let mut request = headers
            .iter()
            .fold(axum::http::Request::builder(), |it, (k, v)| it.header(*k, *v))
            .body(Body::empty())
            .unwrap();
        request.extensions_mut().insert(ConnectInfo(format!("{peer}:5000").parse::<SocketAddr>().unwrap()));
        request
    }

    #[test]
    fn programs_on_this_machine_are_admitted_if_configured() {
        let gate = |allow| Gate::new(None, allow, false);
        let local = || request("127.0.0.1", &[("host", "localhost:3001")]);
        assert!(gate(true).admits(&local()) && !gate(false).admits(&local()));
        assert!(gate(true).admits(&request("[::1]", &[("host", "[::1]:3001")])));
        assert!(!gate(true).admits(&request("192.0.2.7", &[("host", "localhost:3001")])));
    }

    #[test]
    fn a_page_of_another_site_is_not_a_program_on_this_machine() {
        let gate = Gate::new(None, true, false);
        assert!(!gate.admits(&request("127.0.0.1", &[("host", "localhost:3001"), ("origin", "https://example.com")])));
        assert!(!gate.admits(&request("127.0.0.1", &[("host", "rebound.example.com:3001")])));
        assert!(!gate.admits(&request("127.0.0.1", &[("host", "localhost:3001"), ("x-forwarded-for", "192.0.2.7")])));
    }

    #[test]
    fn a_certificate_admits_programs_and_no_pages() {
        let gate = Gate::new(Some(Secret::new("the token")), false, true);
        assert!(gate.admits(&request("192.0.2.7", &[("host", "node1")])));
        assert!(!gate.admits(&request("192.0.2.7", &[("host", "node1"), ("origin", "https://example.com")])));
        assert!(!gate.admits(&request("192.0.2.7", &[("host", "node1"), ("authorization", "Bearer wrong")])));
    }

    #[test]
    fn the_token_admits_from_anywhere_and_a_wrong_token_from_nowhere() {
        let gate = Gate::new(Some(Secret::new("the token")), true, false);
        let with = |peer, token| request(peer, &[("host", "localhost"), ("authorization", token)]);
        assert!(gate.admits(&with("192.0.2.7", "Bearer the token")));
        assert!(!gate.admits(&with("192.0.2.7", "Bearer the tokem")));
        assert!(!gate.admits(&with("127.0.0.1", "Bearer wrong")));
        assert!(gate.admits(&request("127.0.0.1", &[("host", "localhost")])));
    }
}
