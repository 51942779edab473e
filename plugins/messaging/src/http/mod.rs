//! `/v1/messaging/`: the HTTP interface for backends. It publishes messages, lists and changes sockets and rooms, and
//! revokes tokens.

mod emit;
mod openapi;
mod revocations;
mod shared;
mod sockets;
#[cfg(test)]
mod tests;

use crate::emitter::Emitter;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes, for bodies up to `max_payload` bytes.
pub(crate) fn routes(emitter: Emitter, max_payload: usize) -> Router {
    openapi::describe(|| described().into_openapi());
    described().layer(DefaultBodyLimit::max(max_payload)).with_state(emitter).into()
}

/// The route `/emit` alone.
pub(crate) fn emit_route(emitter: Emitter, max_payload: usize) -> Router {
    let emit = OpenApiRouter::new().routes(routes!(emit::emit));
    emit.layer(DefaultBodyLimit::max(max_payload)).with_state(emitter).into()
}

/// The routes with their descriptions.
fn described() -> OpenApiRouter<Emitter> {
    OpenApiRouter::new()
        .routes(routes!(emit::emit))
        .routes(routes!(sockets::sockets))
        .routes(routes!(sockets::rooms))
        .routes(routes!(sockets::nodes))
        .routes(routes!(sockets::join))
        .routes(routes!(sockets::leave))
        .routes(routes!(sockets::disconnect))
        .routes(routes!(revocations::revocations, revocations::revoke, revocations::withdraw))
        .routes(routes!(openapi::openapi))
}
