//! Tests the document and refusals. The gateway does not run, so a valid request returns 503.

use super::shared::ROOMS_MAX;
use super::*;
use axum::body::Body;
use axum::http::Request;
use axum::http::StatusCode;
use serde_json::{Value, json};
use tower::ServiceExt;

fn app() -> Router {
    routes(Emitter::default(), 1000)
}

/// Sends a request without a content type: the body is read as JSON in any case.
async fn ask(method: &str, path: &str, body: impl Into<Body>) -> (StatusCode, Value) {
    let request = Request::builder().method(method).uri(path).body(body.into()).unwrap();
    let answer = app().oneshot(request).await.unwrap();
    let status = answer.status();
    let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

async fn document() -> Value {
    let (status, document) = ask("GET", "/openapi.json", "").await;
    assert_eq!(status, StatusCode::OK);
    document
}

/// Each operation with its method and path.
fn operations(document: &Value) -> Vec<(String, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let all =
        paths.flat_map(|(path, item)| item.as_object().unwrap().iter().map(move |(method, it)| (path, method, it)));
    all.map(|(path, method, it)| (method.to_uppercase(), path.strip_prefix("/v1/messaging").unwrap(), it)).collect()
}

/// The example bodies of an operation.
fn bodies(operation: &Value) -> Vec<String> {
    let content = &operation["requestBody"]["content"]["application/json"];
    let several =
        content["examples"].as_object().into_iter().flat_map(|all| all.values().map(|example| &example["value"]));
    several.chain(content.get("example")).map(Value::to_string).collect()
}

/// A query made of the parameters' examples.
fn query(operation: &Value) -> String {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let pairs = parameters.filter(|it| !it["example"].is_null()).flat_map(|it| {
        let values = it["example"].as_array().cloned().unwrap_or_else(|| vec![it["example"].clone()]);
        values.into_iter().map(move |value| format!("{}={}", it["name"].as_str().unwrap(), value.as_str().unwrap()))
    });
    pairs.collect::<Vec<_>>().join("&")
}

/// All values of a key, at any depth.
fn all<'a>(value: &'a Value, key: &str) -> Vec<&'a Value> {
    let below: Vec<_> = match value {
        Value::Object(fields) => fields.values().flat_map(|field| all(field, key)).collect(),
        Value::Array(items) => items.iter().flat_map(|item| all(item, key)).collect(),
        _ => Vec::new(),
    };
    below.into_iter().chain(value.get(key)).collect()
}

#[tokio::test]
async fn the_document_lists_all_routes() {
    let document = document().await;
    assert_eq!(document["openapi"], "3.1.0");
    let listed: Vec<_> =
        operations(&document).into_iter().map(|(method, path, _)| format!("{method} {path}")).collect();
    let expected = "POST /disconnect, POST /emit, POST /join, POST /leave, GET /nodes, GET /openapi.json, DELETE /revocations, GET /revocations, \
                    POST /revocations, GET /rooms, GET /sockets";
    assert_eq!(listed.join(", "), expected);
}

#[tokio::test]
async fn every_example_is_valid() {
    let document = document().await;
    for (method, path, operation) in operations(&document).into_iter().filter(|(_, path, _)| *path != "/openapi.json") {
        let (path, bodies) = (format!("{path}?{}", query(operation)), bodies(operation));
        assert_eq!(bodies.is_empty(), method != "POST", "{path} has no example");
        for body in if bodies.is_empty() { vec![String::new()] } else { bodies } {
            let (status, answer) = ask(&method, &path, body.clone()).await;
            assert_eq!(
                (status, answer),
                (StatusCode::SERVICE_UNAVAILABLE, json!({ "error": "the gateway is not running" })),
                "{path} {body}"
            );
        }
    }
}

#[tokio::test]
async fn every_reference_in_the_document_resolves() {
    let document = document().await;
    for reference in all(&document, "$ref") {
        let pointer = reference.as_str().unwrap().strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[tokio::test]
async fn the_document_lists_the_required_fields() {
    let document = document().await;
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["Message"]["required"], json!(["event"]));
    assert_eq!(schemas["RoomChange"]["required"], json!(["targets"]));
    assert_eq!(schemas["Disconnection"]["required"], Value::Null);
    // An answer to `emit` without `ack_timeout` and without a cluster has no other fields.
    let required: Vec<_> =
        all(&schemas["Sent"], "required").into_iter().chain(all(&schemas["AckReport"], "required")).collect();
    assert_eq!(required, [&json!(["message", "seq", "recipients"])]);
}

#[tokio::test]
async fn the_document_limits_the_number_of_rooms() {
    assert!(all(&document().await, "maxItems").into_iter().all(|max| max == ROOMS_MAX));
    let rooms = |count: usize| format!("/sockets?{}", vec!["room=a"; count].join("&"));
    assert_eq!(ask("GET", &rooms(ROOMS_MAX), "").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ask("GET", &rooms(ROOMS_MAX + 1), "").await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn errors_name_the_field_or_parameter() {
    for (method, path, body, name) in [
        ("POST", "/emit", r#"{"event": "a", "room": "b"}"#, "room"),
        ("POST", "/join", r#"{"targets": [], "event": "a"}"#, "event"),
        ("POST", "/leave", r#"{"targets": [], "room": "b"}"#, "room"),
        ("POST", "/disconnect", r#"{"targets": []}"#, "targets"),
        ("POST", "/disconnect", "{}", "rooms"),
        ("POST", "/disconnect", r#"{"except": ["user(1)"], "close": true}"#, "rooms"),
        ("POST", "/disconnect", r#"{"rooms": ["user(1)"], "everybody": true}"#, "everybody"),
        ("POST", "/revocations", r#"{"user": "7", "jti": "x"}"#, "jti"),
        ("POST", "/revocations", r#"{"user": ""}"#, "user"),
        ("POST", "/revocations", "{}", "issued_before"),
        ("POST", "/revocations", r#"{"user": "7", "issued_before": 0}"#, "issued_before"),
        ("POST", "/revocations", r#"{"issued_before": 1767225600000}"#, "issued_before"),
        ("POST", "/revocations", r#"{"jti": "x", "issued_before": 1767225600}"#, "issued_before"),
        ("POST", "/revocations", r#"{"jti": "eyJhbGciOiJIUzI1NiJ9.e30.c2ln"}"#, "jti"),
        ("DELETE", "/revocations?user=7&sid=x", "", "sid"),
        ("DELETE", "/revocations?session=x", "", "session"),
        ("GET", "/sockets?rooms=a", "", "rooms"),
        ("GET", "/rooms?room=a", "", "room"),
        ("GET", "/nodes?except=a", "", "except"),
    ] {
        let (status, answer) = ask(method, path, body).await;
        let error = answer["error"].as_str().unwrap();
        assert!(status == StatusCode::BAD_REQUEST && error.contains(&format!("`{name}`")), "{path}: {status}, {error}");
    }
}

#[tokio::test]
async fn refusals_are_json() {
    let refused = async |method: &str, path: &str, body: &str, status: StatusCode| {
        let (actual, answer) = ask(method, path, body.to_owned()).await;
        assert!(actual == status && answer["error"].is_string(), "{path} {body}: {actual}, {answer}");
    };
    for body in [
        "",
        "[]",
        "{}",
        r#"{"event": "a"} {"event": "b"}"#,
        r#"{"event": "a", "ack_timeout": 2}"#,
        r#"{"event": "a", "ack_timeout": "61s"}"#,
    ] {
        refused("POST", "/emit", body, StatusCode::BAD_REQUEST).await;
    }
    refused("POST", "/emit", &format!(r#"{{"event": "{}"}}"#, "a".repeat(1000)), StatusCode::PAYLOAD_TOO_LARGE).await;
    refused("GET", "/sockets?namespace=/a&namespace=/b", "", StatusCode::BAD_REQUEST).await;
    refused("GET", "/rooms?namespace=/a&namespace=/b", "", StatusCode::BAD_REQUEST).await;
}
