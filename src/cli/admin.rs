//! The client of the running program's admin listener.

use super::failure::Failure;
use super::tls_client::connector;
use crate::config::{Admin, Secret};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::handshake;
use hyper::{Method, Request, Response, Uri, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Sends requests to `admin.listen`.
pub(super) struct Client {
    /// `None`: without TLS.
    tls: Option<TlsConnector>,
    address: SocketAddr,
    token: Option<Secret>,
}

impl Client {
    pub(super) fn new(admin: &Admin) -> Result<Self, Failure> {
        let tls = admin.tls.files().map(|files| connector(&files)).transpose();
        let tls = tls.map_err(|e| Failure::failed(format!("admin.tls.{e}")))?;
        Ok(Self { tls, address: reachable(admin.listen), token: admin.bearer()? })
    }

    /// The body of the answer to GET.
    pub(super) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.json(self.stream(path).await?).await
    }

    /// Sends JSON, and returns the body of the answer.
    pub(super) async fn post(&self, path: &str, body: Vec<u8>) -> Result<Value, Failure> {
        self.json(self.send(Method::POST, path, body).await?).await
    }

    /// Sends DELETE, and returns the body of the answer.
    pub(super) async fn delete(&self, path: &str) -> Result<Value, Failure> {
        self.json(self.send(Method::DELETE, path, Vec::new()).await?).await
    }

    /// The answer to GET, before its body has arrived.
    pub(super) async fn stream(&self, path: &str) -> Result<Response<Incoming>, Failure> {
        self.send(Method::GET, path, Vec::new()).await
    }

    /// The connection was lost: `why`.
    pub(super) fn lost(&self, why: &str) -> Failure {
        Failure::failed(format!("the connection to {} ended: {why}", self.url()))
    }

    async fn send(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Response<Incoming>, Failure> {
        let uri: Uri = path.parse().map_err(|e| Failure::usage(format!("`{path}`: {e}")))?;
        let mut request = Request::builder().method(method).uri(uri);
        request =
            request.header(header::HOST, self.address.to_string()).header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.reveal()));
        }
        let request = request
            .body(Full::from(body))
            .map_err(|_| Failure::usage("admin.token has characters that HTTP does not allow: set another token"))?;
        let answer = self.request(request).await?;
        match answer.status().is_success() {
            true => Ok(answer),
            false => Err(self.refusal(answer).await),
        }
    }

    /// Sends the request on a connection of its own.
    async fn request(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failure> {
        let unreachable = |e: io::Error| self.unreachable(&e, "; is the program running?");
        let stream = TcpStream::connect(self.address).await.map_err(unreachable)?;
        match &self.tls {
            None => self.exchange(stream, request).await,
            Some(tls) => {
                let stream = tls.connect(self.address.ip().into(), stream).await;
                self.exchange(stream.map_err(|e| self.unreachable(&e, ""))?, request).await
            }
        }
    }

    async fn exchange<S>(&self, stream: S, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let unreachable = |e: hyper::Error| self.unreachable(&e, "");
        let (mut requests, connection) = handshake(TokioIo::new(stream)).await.map_err(unreachable)?;
        // Its errors come with the answer, or with its body.
        tokio::spawn(connection);
        requests.send_request(request).await.map_err(unreachable)
    }

    async fn json(&self, answer: Response<Incoming>) -> Result<Value, Failure> {
        let body = answer.into_body().collect().await.map_err(|e| self.lost(&e.to_string()))?.to_bytes();
        serde_json::from_slice(&body).map_err(|e| self.lost(&format!("the answer is not JSON: {e}")))
    }

    async fn refusal(&self, answer: Response<Incoming>) -> Failure {
        let status = answer.status();
        let body = answer.into_body().collect().await.map(|b| b.to_bytes()).unwrap_or_default();
        let error = serde_json::from_slice(&body)
            .ok()
            .and_then(|answer: Value| Some(answer.get("error")?.as_str()?.to_owned()));
        Failure::failed(
            error.unwrap_or_else(|| format!("{} answered {status}: {}", self.url(), String::from_utf8_lossy(&body))),
        )
    }

    fn unreachable(&self, error: &dyn std::error::Error, hint: &str) -> Failure {
        Failure::failed(format!("cannot reach {} (admin.listen): {}{hint}", self.url(), innermost(error)))
    }

    fn url(&self) -> String {
        format!("{}://{}", if self.tls.is_some() { "https" } else { "http" }, self.address)
    }
}

/// Encodes `text` as a part of a path or a query.
pub(super) fn segment(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-~".contains(byte);
    text.bytes().map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// The address of a listener on `listen`, as seen from this machine.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    };
    SocketAddr::new(ip, listen.port())
}

fn innermost(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), innermost)
}
