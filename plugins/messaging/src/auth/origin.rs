//! The origins that may connect, compared as browsers compare them.

use axum::http::HeaderValue;
use std::sync::Arc;

/// What browsers send for a sandboxed frame and, in some browsers, for a local file.
const OPAQUE: &str = "null";

/// Browsers omit these ports.
const DEFAULT_PORTS: [(&str, u16); 4] = [("http", 80), ("https", 443), ("ws", 80), ("wss", 443)];

/// The origins whose pages and apps may connect. An empty list allows all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origins(Arc<[String]>);

/// Why a text is not an origin, and what to write instead.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAnOrigin {
    #[error("an origin ends after its host or port: expected \"{0}\"")]
    Path(String),
    #[error("the scheme is missing: expected something like \"https://{0}\"")]
    NoScheme(String),
    #[error("wildcards are not supported: list each origin, or leave the list empty to allow all")]
    Wildcard,
    #[error("an origin has no user name: expected \"{0}\"")]
    UserName(String),
    #[error("browsers send host names in ASCII: expected something like \"https://xn--bcher-kva.example\"")]
    NotAscii,
    #[error("the host is missing: expected something like \"https://example.com\"")]
    NoHost,
    #[error("`{0}` is not a port: expected a number up to 65535, or no port")]
    Port(String),
}

impl Origins {
    /// Expects origins that [`normal`] accepts, and skips others.
    pub(crate) fn new(configured: &[String]) -> Self {
        Self(configured.iter().filter_map(|origin| normal(origin).ok()).collect())
    }

    /// Whether a request with this Origin header may connect. A request without one may: programs other than browsers
    /// can forge the header anyway.
    pub(crate) fn admit(&self, origin: Option<&HeaderValue>) -> bool {
        let named = |origin: &HeaderValue| normal(origin.to_str().ok()?).ok().filter(|origin| self.0.contains(origin));
        self.0.is_empty() || origin.is_none_or(|origin| named(origin).is_some())
    }
}

/// The normal form of an origin: two origins that browsers treat as the same have the same normal form.
///
/// # Errors
/// If the text is not an origin.
pub(crate) fn normal(text: &str) -> Result<String, NotAnOrigin> {
    if text == OPAQUE {
        return Ok(text.to_owned());
    }
    if text.contains('*') {
        return Err(NotAnOrigin::Wildcard);
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(NotAnOrigin::NotAscii);
    }
    let scheme = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    };
    let Some((scheme, rest)) = text.split_once("://").filter(|(before, _)| scheme(before)) else {
        let host = text.trim_start_matches(['/', ':']).split('/').next().unwrap_or_default();
        return Err(NotAnOrigin::NoScheme(if host.is_empty() { "example.com" } else { host }.to_owned()));
    };
    let scheme = scheme.to_ascii_lowercase();
    if let Some(end) = rest.find(['/', '?', '#', '\\']) {
        return Err(NotAnOrigin::Path(format!("{scheme}://{}", &rest[..end])));
    }
    if let Some((_, host)) = rest.rsplit_once('@') {
        return Err(NotAnOrigin::UserName(format!("{scheme}://{host}")));
    }
    let (host, port) = host_and_port(rest)?;
    let default_port = DEFAULT_PORTS.iter().find(|(name, _)| *name == scheme).map(|(_, port)| *port);
    // Apps use their own schemes, some without a host.
    if host.is_empty() && default_port.is_some() {
        return Err(NotAnOrigin::NoHost);
    }
    let port = port.filter(|port| Some(*port) != default_port).map_or(String::new(), |port| format!(":{port}"));
    Ok(format!("{scheme}://{}{port}", host.to_ascii_lowercase()))
}

/// The host of an origin, in lower case. `None` if the text is not an origin or names no host.
pub(super) fn host(origin: &str) -> Option<String> {
    let normal = normal(origin).ok()?;
    let (_, authority) = normal.split_once("://")?;
    let (host, _) = host_and_port(authority).ok()?;
    (!host.is_empty()).then(|| host.to_owned())
}

fn host_and_port(authority: &str) -> Result<(&str, Option<u16>), NotAnOrigin> {
    // An IPv6 address has colons inside its brackets.
    let host_end = authority.rfind(']').map_or(0, |end| end + 1);
    let Some(colon) = authority[host_end..].find(':').map(|at| host_end + at) else { return Ok((authority, None)) };
    let port = &authority[colon + 1..];
    let number = port.parse().map_err(|_| NotAnOrigin::Port(port.to_owned()))?;
    Ok((&authority[..colon], Some(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(configured: &[&str], origin: Option<&str>) -> bool {
        let configured: Vec<_> = configured.iter().map(|origin| (*origin).to_owned()).collect();
        let origin = origin.map(|origin| HeaderValue::from_str(origin).unwrap());
        Origins::new(&configured).admit(origin.as_ref())
    }

    #[test]
    fn origins_are_compared_as_browsers_compare_them() {
        for (configured, sent) in [
            ("https://example.com", "https://example.com"),
            ("https://Example.COM:443", "https://example.com"),
            ("HTTP://localhost:80", "http://localhost"),
            ("http://localhost:8080", "http://localhost:8080"),
            ("http://[::1]:80", "http://[::1]"),
            ("http://[::1]:8100", "http://[::1]:8100"),
            ("null", "null"),
            ("file://", "file://"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("ionic://localhost", "ionic://localhost"),
            ("ionic://", "ionic://"),
            ("app://.", "app://."),
            ("tauri://localhost", "tauri://localhost"),
            ("vscode-webview://0a1b", "vscode-webview://0a1b"),
            (
                "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
                "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
            ),
            ("safari-web-extension://B4A4D1E6", "safari-web-extension://b4a4d1e6"),
        ] {
            assert!(admitted(&[configured], Some(sent)), "{configured} {sent}");
            assert!(admitted(&["https://other.example", configured], Some(sent)), "{configured} {sent}");
        }
    }

    #[test]
    fn other_origins_are_rejected() {
        for (configured, sent) in [
            ("https://example.com", "http://example.com"),
            ("https://example.com", "https://example.com:8443"),
            ("https://example.com:80", "https://example.com"),
            ("https://example.com", "https://example.com.evil.example"),
            ("https://example.com", "https://www.example.com"),
            ("https://example.com", "null"),
            ("https://example.com", "https://example.com/"),
            ("https://example.com", "https://evil@example.com"),
            ("null", "file://"),
            ("capacitor://localhost", "http://localhost"),
            ("https://example.com", ""),
        ] {
            assert!(!admitted(&[configured], Some(sent)), "{configured} {sent}");
        }
        assert!(
            admitted(&["https://example.com"], None)
                && admitted(&[], Some("https://any.example"))
                && admitted(&[], Some(""))
        );
    }

    #[test]
    fn errors_say_what_to_write_instead() {
        for (text, expected) in [
            ("https://Example.com/", "expected \"https://Example.com\""),
            ("https://example.com/app?x=1", "expected \"https://example.com\""),
            ("https://me@example.com", "expected \"https://example.com\""),
            ("example.com", "\"https://example.com\""),
            ("//example.com/x", "\"https://example.com\""),
            ("", "\"https://example.com\""),
            ("*", "leave the list empty to allow all"),
            ("https://*.example.com", "list each origin"),
            ("https://bücher.example", "in ASCII"),
            ("https://", "the host is missing"),
            ("http://:80", "the host is missing"),
            ("https://example.com:port", "`port` is not a port"),
            ("https://example.com:65536", "`65536` is not a port"),
            ("https://exa mple.com", "in ASCII"),
        ] {
            let error = normal(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
