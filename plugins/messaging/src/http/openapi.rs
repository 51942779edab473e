//! `GET /v1/messaging/openapi.json`: the OpenAPI document, from the types that the handlers read and write.

use super::{Failure, described};
use axum::http::header;
use axum::response::IntoResponse;
use std::sync::LazyLock;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{Modify, ToSchema};

/// Where the admin listener has the routes.
const BASE: &str = "/v1/messaging";

/// How requests may fail.
const FAILURES: [(&str, &str); 5] = [
    ("400", "The request is not understood; `error` names the field or the parameter."),
    ("401", "The caller has not the token, and is no program on this machine that is let in without."),
    ("404", "There is no such namespace."),
    ("413", "The body is longer than `plugins.messaging.max_payload`."),
    ("503", "The gateway is not running, a row is not durable, or Redis cannot be asked; `error` says which."),
];

static DOCUMENT: LazyLock<String> = LazyLock::new(document);

/// Describes these routes.
///
/// This document.
#[utoipa::path(get, path = "/openapi.json", responses((status = 200, description = "An OpenAPI 3.1 document.", body = Object)))]
pub(super) async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str())
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Greyhound: messaging",
        description = "Publishing messages, and asking and changing what is connected, for backends. Fields and parameters that are not \
                       described are refused. A body is read as JSON, whatever its content type.",
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
        let meaning =
            "`admin.token`. Programs on this machine need none where `admin.allow_loopback` is on, as by default.";
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(meaning)).build();
        document.components.get_or_insert_default().add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

fn document() -> String {
    let mut document = <Frame as utoipa::OpenApi>::openapi().nest(BASE, described().into_openapi());
    document.paths.paths.values_mut().flat_map(operations).for_each(may_fail);
    document.to_json().expect("texts and numbers are JSON")
}

fn operations(path: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut path.get, &mut path.post].into_iter().flatten()
}

/// The failures are the same everywhere; which there are follows from what is read.
fn may_fail(operation: &mut Operation) {
    let body = operation.request_body.is_some();
    let anything = body || operation.parameters.is_some();
    let may = |status: &str| match status {
        "401" => true,
        "413" => body,
        _ => anything,
    };
    let failures = FAILURES.into_iter().filter(|(status, _)| may(status));
    operation
        .responses
        .responses
        .extend(failures.map(|(status, meaning)| (status.to_owned(), RefOr::T(failure(meaning)))));
}

fn failure(meaning: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(Failure::name()))).build();
    ResponseBuilder::new().description(meaning).content("application/json", content).build()
}
