//! `GET /v1/messaging/openapi.json`: the OpenAPI document, generated from the handlers' types.

use super::shared::Failure;
use axum::http::header;
use axum::response::IntoResponse;
use std::sync::OnceLock;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{Modify, ToSchema};

/// The path of the routes on the admin listener.
const BASE_PATH: &str = "/v1/messaging";

/// The status codes of failed requests.
const FAILURES: [(&str, &str); 5] = [
    ("400", "The request is invalid; `error` names the field or the parameter."),
    ("401", "The token is missing or wrong, and the caller is not a program on this machine that needs none."),
    ("404", "The namespace or the revocation does not exist."),
    ("413", "The body is longer than `plugins.messaging.max_payload`."),
    (
        "503",
        "The gateway is not running, a row or a revocation is not durable, there are too many revocations, or Redis is unavailable; \
             `error` says which.",
    ),
];

static DOCUMENT: OnceLock<String> = OnceLock::new();

/// Makes the document of the routes, once.
pub(super) fn describe(routes: impl FnOnce() -> OpenApi) {
    DOCUMENT.get_or_init(|| document(routes()));
}

/// Describes this interface.
#[utoipa::path(get, path = "/openapi.json", responses((status = 200, description = "An OpenAPI 3.1 document.", body = Object)))]
pub(super) async fn openapi() -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "application/json")],
        DOCUMENT.get().expect("the routes were described before they were served").as_str(),
    )
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Greyhound: messaging",
        description = "For backends: publish messages, list and change sockets and rooms, and revoke tokens. Unknown fields and parameters are \
                       refused. A body is read as JSON, whatever its content type.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(Failure)),
    security(("bearer" = []), ()),
    modifiers(&Bearer)
)]
struct Frame;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut OpenApi) {
        let meaning = "`admin.token`. Programs on this machine need no token if `admin.allow_loopback` is on, which is the default.";
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(meaning)).build();
        document.components.get_or_insert_default().add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

fn document(routes: OpenApi) -> String {
    let mut document = <Frame as utoipa::OpenApi>::openapi().nest(BASE_PATH, routes);
    document.paths.paths.values_mut().flat_map(operations).for_each(add_failures);
    document.to_json().expect("texts and numbers are JSON")
}

fn operations(path: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut path.get, &mut path.post, &mut path.delete].into_iter().flatten()
}

/// Adds the possible failures of an operation, which depend on its body and parameters.
fn add_failures(operation: &mut Operation) {
    let has_body = operation.request_body.is_some();
    let has_input = has_body || operation.parameters.is_some();
    let is_possible = |status: &str| match status {
        "401" => true,
        "413" => has_body,
        _ => has_input,
    };
    let failures = FAILURES.into_iter().filter(|(status, _)| is_possible(status));
    operation
        .responses
        .responses
        .extend(failures.map(|(status, meaning)| (status.to_owned(), RefOr::T(failure(meaning)))));
}

fn failure(meaning: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(Failure::name()))).build();
    ResponseBuilder::new().description(meaning).content("application/json", content).build()
}
