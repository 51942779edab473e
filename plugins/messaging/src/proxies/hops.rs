//! Reads the headers in which proxies report addresses, from the last value to the first.
//!
//! Each proxy appends a value, so the last one is that of the nearest proxy. A client can write anything before it.
//! Reading backwards, nothing that the client wrote changes how a proxy's value is read.

use axum::http::header::{FORWARDED, HeaderName};
use axum::http::{HeaderMap, HeaderValue};
use std::net::{IpAddr, SocketAddr};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What one proxy reports about its own client.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hop {
    /// `None` if it is hidden or unreadable.
    pub(super) address: Option<IpAddr>,
    /// Whether that client connected over TLS. `None` if it is not reported.
    pub(super) secure: Option<bool>,
}

/// The values of `X-Forwarded-For` and `X-Forwarded-Proto`. If there are fewer protocols than addresses, proxies have
/// replaced the protocol instead of appending theirs.
pub(super) fn x_forwarded(headers: &HeaderMap) -> impl Iterator<Item = Hop> {
    let values = |name| headers.get_all(name).iter().rev().flat_map(|line| RightSplit::new(line.as_bytes(), b','));
    let mut protocols = values(X_FORWARDED_PROTO).map(is_secure);
    let mut secure = None;
    // The last hop stands for a request with a protocol but without addresses.
    values(X_FORWARDED_FOR).map(address).chain([None]).map(move |address| {
        secure = protocols.next().or(secure);
        Hop { address, secure }
    })
}

/// The elements of `Forwarded`.
pub(super) fn forwarded(headers: &HeaderMap) -> impl Iterator<Item = Hop> {
    let lines = headers.get_all(FORWARDED).iter().rev().map(HeaderValue::as_bytes);
    lines.flat_map(|line| RightSplit::new(line, b',')).map(|element| {
        let value = |name: &str| {
            RightSplit::new(element, b';').find_map(|pair| {
                let at = pair.iter().position(|byte| *byte == b'=')?;
                pair[..at].trim_ascii().eq_ignore_ascii_case(name.as_bytes()).then(|| unquoted(&pair[at + 1..]))
            })
        };
        Hop { address: value("for").and_then(address), secure: value("proto").map(is_secure) }
    })
}

fn is_secure(protocol: &[u8]) -> bool {
    let protocol = protocol.trim_ascii();
    protocol.eq_ignore_ascii_case(b"https") || protocol.eq_ignore_ascii_case(b"wss")
}

/// An address, with or without a port. An IPv6 address with a port is in brackets.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim_ascii();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()));
    address.map(|address| address.to_canonical())
}

/// The content of a quoted string. Escapes are kept: no address has any.
fn unquoted(text: &[u8]) -> &[u8] {
    let text = text.trim_ascii();
    text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(text)
}

/// The parts of a header's line from right to left. Separators in quoted strings do not count.
struct RightSplit<'a> {
    rest: Option<&'a [u8]>,
    separator: u8,
}

impl<'a> RightSplit<'a> {
    fn new(line: &'a [u8], separator: u8) -> Self {
        Self { rest: Some(line), separator }
    }
}

impl<'a> Iterator for RightSplit<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let line = self.rest?;
        let mut quoted = false;
        for at in (0..line.len()).rev() {
            if line[at] == b'"' && !is_escaped(&line[..at]) {
                quoted = !quoted;
            } else if line[at] == self.separator && !quoted {
                self.rest = Some(&line[..at]);
                return Some(&line[at + 1..]);
            }
        }
        self.rest.take()
    }
}

/// Whether a quote after `before` is part of a quoted string: an odd number of backslashes precedes it.
fn is_escaped(before: &[u8]) -> bool {
    before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}
