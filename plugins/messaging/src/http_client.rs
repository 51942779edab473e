//! Requests to the team's own HTTP servers, such as the issuer of the tokens.
//!
//! It trusts the certificates that the client of Redis trusts: the system's, or those in the file that `SSL_CERT_FILE`
//! names. It follows no redirect, because a server that is configured by its URL has no reason to send one, and it uses
//! no proxy.

use axum::http::uri::Scheme;
use axum::http::{Request, Response, Uri};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Connections that are kept open for further requests to one server.
const IDLE_CONNECTIONS: usize = 8;
/// An idle connection is closed after this time, before most servers close it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Sends requests. Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub(crate) struct HttpClient(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

/// The limits of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// For everything from connecting to the last byte of the body.
    pub(crate) timeout: Duration,
    /// The size of the response's body in bytes.
    pub(crate) body: usize,
}

/// Why there is no response. The text does not show the URL, because it may contain a password.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    #[error("{0}")]
    Failed(String),
}

/// Why a URL cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAUrl {
    #[error("is not a URL: expected something like \"https://issuer.example/jwks.json\"")]
    Malformed,
    #[error("is not encrypted: expected https://; http:// is for this machine only, such as \"http://127.0.0.1:8080\"")]
    Unencrypted,
    #[error("contains a user or a password, which are not sent: leave them out")]
    Credentials,
}

impl HttpClient {
    /// Reads the certificates to trust. Errors in them appear when a connection is made.
    pub(crate) fn new() -> Self {
        let mut trusted = RootCertStore::empty();
        trusted.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the cipher suites of these versions")
            .with_root_certificates(trusted)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .build(connector);
        Self(client)
    }

    /// Sends a request and returns the whole response, whatever its status.
    ///
    /// # Errors
    /// If no response arrives within the limits.
    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
        limits: Limits,
    ) -> Result<Response<Bytes>, HttpError> {
        let answered = async {
            let response = self.0.request(request).await.map_err(|e| HttpError::Failed(reason(&e)))?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, limits.body).collect().await.map_err(|e| body_error(&*e, limits.body))?;
            Ok(Response::from_parts(parts, body.to_bytes()))
        };
        timeout(limits.timeout, answered).await.unwrap_or(Err(HttpError::Timeout(limits.timeout)))
    }
}

fn body_error(error: &(dyn Error + 'static), limit: usize) -> HttpError {
    if error.is::<LengthLimitError>() { HttpError::TooLong(limit) } else { HttpError::Failed(reason(error)) }
}

/// The innermost cause. Those around it say only that connecting or sending failed.
fn reason(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// Checks the URL of a server: https, or http to this machine.
///
/// # Errors
/// If it is no such URL.
pub(crate) fn check_url(url: &str) -> Result<Uri, NotAUrl> {
    let uri: Uri = url.parse().map_err(|_| NotAUrl::Malformed)?;
    let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else { return Err(NotAUrl::Malformed) };
    if authority.as_str().contains('@') {
        return Err(NotAUrl::Credentials);
    }
    match scheme {
        _ if authority.host().is_empty() => Err(NotAUrl::Malformed),
        https if *https == Scheme::HTTPS => Ok(uri),
        http if *http == Scheme::HTTP && is_loopback(authority.host()) => Ok(uri),
        http if *http == Scheme::HTTP => Err(NotAUrl::Unencrypted),
        _ => Err(NotAUrl::Malformed),
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.map_or(host == "localhost", |address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::routing::get;
    use tokio::net::TcpListener;

    const LIMITS: Limits = Limits { timeout: Duration::from_secs(10), body: 100 };

    async fn served(app: Router) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, app).await });
        url
    }

    async fn got(url: &str, limits: Limits) -> Result<Response<Bytes>, HttpError> {
        HttpClient::new().send(Request::get(url).body(Full::default()).unwrap(), limits).await
    }

    #[tokio::test]
    async fn an_answer_arrives_whole_or_not_at_all() {
        let app = Router::new()
            .route("/short", get(|| async { "x".repeat(100) }))
            .route("/long", get(|| async { "x".repeat(101) }))
            .route("/never", get(std::future::pending::<()>));
        let url = served(app).await;
        assert_eq!(got(&format!("{url}/short"), LIMITS).await.unwrap().body().len(), 100);
        assert!(matches!(got(&format!("{url}/long"), LIMITS).await, Err(HttpError::TooLong(100))));
        let short = Limits { timeout: Duration::from_millis(50), ..LIMITS };
        assert!(matches!(got(&format!("{url}/never"), short).await, Err(HttpError::Timeout(_))));
        let refused = got("http://127.0.0.1:1", LIMITS).await.unwrap_err().to_string();
        assert!(refused.contains("refused"), "{refused}");
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        let app = Router::new().route("/", get(|| async { axum::response::Redirect::temporary("/elsewhere") }));
        assert_eq!(got(&served(app).await, LIMITS).await.unwrap().status(), 307);
    }

    #[test]
    fn a_url_is_encrypted_unless_it_stays_on_this_machine() {
        for good in [
            "https://issuer.example/jwks.json?x=y",
            "https://10.0.0.1:8443",
            "http://localhost:8080/keys",
            "http://127.0.0.2",
            "http://[::1]:80/",
        ] {
            assert!(check_url(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("http://issuer.example", NotAUrl::Unencrypted),
            ("http://localhost.example", NotAUrl::Unencrypted),
            ("https://user:password@issuer.example", NotAUrl::Credentials),
            ("http://localhost@issuer.example", NotAUrl::Credentials),
            ("issuer.example", NotAUrl::Malformed),
            ("/keys", NotAUrl::Malformed),
            ("https://", NotAUrl::Malformed),
            ("ftp://issuer.example", NotAUrl::Malformed),
            ("file:///etc/keys", NotAUrl::Malformed),
            ("", NotAUrl::Malformed),
        ] {
            assert_eq!(check_url(bad).unwrap_err(), why, "{bad}");
        }
    }
}
