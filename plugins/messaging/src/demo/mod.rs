//! The demo page: connect as a user, push, publish, and watch the rows of it appear.
//!
//! It mints tokens and shows every row, so it answers only where both the caller's address and the
//! name that it called (against DNS rebinding) are this machine's own.

mod rows;
#[cfg(test)]
mod tests;

use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use greyhound_sdk::Bus;
use greyhound_sdk::local::is_local;
use serde::Deserialize;

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
        .route("/demo/token", get(token::<M>).with_state(mint))
        .nest("/demo", emit)
        .layer(middleware::from_fn(only_this_machine))
}

fn file(content_type: &'static str, text: &'static str) -> MethodRouter {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    get(move || std::future::ready((headers, text)))
}

#[derive(Deserialize)]
struct ForUser {
    user: String,
}

async fn token<M: Fn(&str) -> String>(State(mint): State<M>, Query(wanted): Query<ForUser>) -> String {
    mint(&wanted.user)
}

async fn only_this_machine(request: Request, next: Next) -> Response {
    if is_own_page(&request) {
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, "The demo page is only for the machine that Greyhound runs on: open it there, as http://localhost.")
            .into_response()
    }
}

/// A page of another site may post here, but its origin tells on it.
fn is_own_page(request: &Request) -> bool {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let origin = request.headers().get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
    is_local(request) && origin.is_none_or(|origin| origin.strip_prefix("http://") == host)
}
