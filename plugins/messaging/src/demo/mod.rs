//! The demo page: connect as a user, push, publish, and watch the rows appear.
//!
//! The page mints tokens and shows every row. It therefore answers only if the caller's address and the requested host
//! name (against DNS rebinding) are this machine's own, and if the request does not come from a page of another origin,
//! such as another port of this machine.

mod rows;
#[cfg(test)]
mod tests;

use crate::auth::MintError;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};
use bytes::Bytes;
use greyhound_sdk::Bus;
use greyhound_sdk::local::is_local;
use serde::Deserialize;
use std::time::Duration;

/// How long the page's tokens are valid. The page requests a new one in time, and when it reconnects.
pub(crate) const TOKEN_LIFE: Duration = Duration::from_secs(300);

/// socket.io's path in the page.
const DEFAULT_PATH: &str = "/socket.io";

/// The page loads everything from this server.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                                       connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'";

/// The page at `/` and its resources below `/demo/`.
///
/// `mint` makes a token for a user id. `emit` has the route `/emit`, which publishes a message. `path` is that of
/// socket.io. Each request needs its
/// peer's address as an axum `ConnectInfo`; a request without one is refused.
pub(crate) fn routes<M>(bus: Bus, mint: M, emit: Router, path: &str) -> Router
where
    M: Fn(&str) -> Result<String, MintError> + Clone + Send + Sync + 'static,
{
    Router::new()
        .route("/", file("text/html; charset=utf-8", include_str!("page.html").replace(DEFAULT_PATH, path)))
        .route("/demo/page.css", file("text/css; charset=utf-8", include_str!("page.css")))
        .route("/demo/page.js", file("text/javascript; charset=utf-8", include_str!("page.js")))
        .route("/demo/socket.js", file("text/javascript; charset=utf-8", include_str!("socket.js")))
        .route("/demo/icon.svg", file("image/svg+xml", include_str!("icon.svg")))
        .route("/demo/rows", get(rows::rows).with_state(bus))
        .route("/demo/token", post(token::<M>).with_state(mint))
        .nest("/demo", emit)
        .layer(middleware::from_fn(only_this_machine))
}

fn file(content_type: &'static str, text: impl Into<Bytes>) -> MethodRouter {
    let text = text.into();
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    get(move || std::future::ready((headers, text.clone())))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ForUser {
    user: String,
}

/// Takes JSON in a POST: a page of another origin cannot send that without a preflight, nor run the answer as a script.
async fn token<M>(State(mint): State<M>, Json(wanted): Json<ForUser>) -> Result<String, (StatusCode, String)>
where
    M: Fn(&str) -> Result<String, MintError>,
{
    mint(&wanted.user).map_err(|why| (StatusCode::INTERNAL_SERVER_ERROR, why.to_string()))
}

async fn only_this_machine(request: Request, next: Next) -> Response {
    let mut answer = if is_own_page(&request) {
        next.run(request).await
    } else {
        (
            StatusCode::FORBIDDEN,
            "The demo page works only on the machine that runs Greyhound: open it there, at http://localhost.",
        )
            .into_response()
    };
    answer.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// Whether the request comes from this machine, and from its user or from the demo page itself. Browsers report a page
/// of another origin in `Origin` if it posts or reads, and in `Sec-Fetch-Site` even if it only embeds. Such a page may
/// link to the demo page, nothing else.
fn is_own_page(request: &Request) -> bool {
    let text = |name: header::HeaderName| request.headers().get(name).map(|value| value.to_str().unwrap_or_default());
    let own_origin =
        text(header::ORIGIN).is_none_or(|origin| origin.split_once("://").map(|(_, host)| host) == text(header::HOST));
    let own_fetch = text(header::HeaderName::from_static("sec-fetch-site"))
        .is_none_or(|site| ["same-origin", "none"].contains(&site));
    is_local(request) && own_origin && (own_fetch || request.uri().path() == "/")
}
