//! The demo page: connect as a user, push, publish, and watch the rows of it appear.
//!
//! It mints tokens and shows every row, so it answers only if the caller's address and the name that it called (against
//! DNS rebinding) are this machine's own, and if no page of another origin asks: other ports of this machine have
//! pages, too.

mod rows;
#[cfg(test)]
mod tests;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};
use greyhound_sdk::Bus;
use greyhound_sdk::local::is_local;
use serde::Deserialize;
use std::time::Duration;

/// How long a token of the page is good for: it is used at once, and the page asks for another one when it reconnects.
pub(crate) const TOKEN_LIFE: Duration = Duration::from_secs(60);

/// The page takes everything from this server and nothing from anywhere else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'none'; frame-ancestors 'none'; base-uri 'none'";

/// The page at `/` and what it needs below `/demo/`.
///
/// `mint` makes a token for a user id; `emit` has the route `/emit`, which publishes a message. The
/// listener gives each request its peer as an axum `ConnectInfo`; a request without one is refused.
pub fn routes<M>(bus: Bus, mint: M, emit: Router) -> Router
where
    M: Fn(&str) -> String + Clone + Send + Sync + 'static,
{
    Router::new()
        .route("/", file("text/html; charset=utf-8", include_str!("page.html")))
        .route("/demo/page.css", file("text/css; charset=utf-8", include_str!("page.css")))
        .route("/demo/page.js", file("text/javascript; charset=utf-8", include_str!("page.js")))
        .route("/demo/socket.js", file("text/javascript; charset=utf-8", include_str!("socket.js")))
        .route("/demo/icon.svg", file("image/svg+xml", include_str!("icon.svg")))
        .route("/demo/rows", get(rows::rows).with_state(bus))
        .route("/demo/token", post(token::<M>).with_state(mint))
        .nest("/demo", emit)
        .layer(middleware::from_fn(only_this_machine))
}

fn file(content_type: &'static str, text: &'static str) -> MethodRouter {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    get(move || std::future::ready((headers, text)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ForUser {
    user: String,
}

/// A page of another origin cannot post JSON without asking first, and cannot run the answer as a script.
async fn token<M: Fn(&str) -> String>(State(mint): State<M>, Json(wanted): Json<ForUser>) -> String {
    mint(&wanted.user)
}

async fn only_this_machine(request: Request, next: Next) -> Response {
    let mut answer = if is_own_page(&request) {
        next.run(request).await
    } else {
        (
            StatusCode::FORBIDDEN,
            "The demo page is only for the machine that Greyhound runs on: open it there, as http://localhost.",
        )
            .into_response()
    };
    answer.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// Whether this machine asks, for its user or for the page itself. Browsers tell of a page of another origin: by
/// `Origin` if it posts or reads, by `Sec-Fetch-Site` also if it embeds. It may lead to the page, nothing else.
fn is_own_page(request: &Request) -> bool {
    let text = |name: header::HeaderName| request.headers().get(name).map(|value| value.to_str().unwrap_or_default());
    let own_origin = text(header::ORIGIN).is_none_or(|origin| origin.strip_prefix("http://") == text(header::HOST));
    let own_fetch = text(header::HeaderName::from_static("sec-fetch-site"))
        .is_none_or(|site| ["same-origin", "none"].contains(&site));
    is_local(request) && own_origin && (own_fetch || request.uri().path() == "/")
}
