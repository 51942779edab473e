//! The client of the running program's admin listener.

use super::failure::Failure;
use crate::config::{Admin, Secret};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, Uri, header};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Sends requests to `admin.listen`.
pub(super) struct Client {
    http: HttpClient<HttpConnector, Full<Bytes>>,
    address: SocketAddr,
    token: Option<Secret>,
}

impl Client {
    pub(super) fn new(admin: &Admin) -> Result<Self, Failure> {
        let http = HttpClient::builder(TokioExecutor::new()).build_http();
        Ok(Self { http, address: reachable(admin.listen), token: admin.bearer()? })
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
        Failure::failed(format!("the connection to http://{} ended: {why}", self.address))
    }

    async fn send(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Response<Incoming>, Failure> {
        let uri: Uri =
            format!("http://{}{path}", self.address).parse().map_err(|e| Failure::usage(format!("`{path}`: {e}")))?;
        let mut request = Request::builder().method(method).uri(uri).header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.reveal()));
        }
        let request = request
            .body(Full::from(body))
            .map_err(|_| Failure::usage("admin.token has characters that HTTP does not allow: set another token"))?;
        let answer = self.http.request(request).await.map_err(|e| self.unreachable(&e))?;
        match answer.status().is_success() {
            true => Ok(answer),
            false => Err(self.refusal(answer).await),
        }
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
        Failure::failed(error.unwrap_or_else(|| {
            format!("http://{} answered {status}: {}", self.address, String::from_utf8_lossy(&body))
        }))
    }

    fn unreachable(&self, error: &hyper_util::client::legacy::Error) -> Failure {
        let why = innermost(error);
        let hint = if error.is_connect() { "; is the program running?" } else { "" };
        Failure::failed(format!("cannot reach http://{} (admin.listen): {why}{hint}", self.address))
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
