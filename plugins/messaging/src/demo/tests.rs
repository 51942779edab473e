use super::*;
use axum::Json;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::routing::post;
use futures_util::StreamExt;
use greyhound_sdk::TopicSchema;
use greyhound_sdk::testing::memory::MemoryBus;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tower::ServiceExt;

const NOTE: &str = r#"{"type": "record", "namespace": "test", "name": "note", "fields": [
    {"name": "kind", "type": {"type": "enum", "name": "kind", "symbols": ["short", "long"]}},
    {"name": "text", "type": ["null", "string"], "default": null}]}"#;

fn app(bus: &MemoryBus) -> Router {
    let emit = Router::new().route("/emit", post(|Json(body): Json<Value>| async move { Json(body) }));
    routes(bus.bus(), |user: &str| Ok(format!("a token for {user}")), emit, "/live")
}

fn memory() -> MemoryBus {
    MemoryBus::new(vec![TopicSchema::from_avro(NOTE).unwrap()])
}

fn request(path: &str, peer: &str, host: &str) -> Request {
    let mut request = Request::builder().uri(path).header(header::HOST, host).body(Body::empty()).unwrap();
    request.extensions_mut().insert(ConnectInfo(peer.parse::<SocketAddr>().unwrap()));
    request
}

fn token_request(user: &str, peer: &str, host: &str) -> Request {
    let mut request = request("/demo/token", peer, host);
    *request.method_mut() = axum::http::Method::POST;
    request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    *request.body_mut() = Body::from(json!({ "user": user }).to_string());
    request
}

fn local(path: &str) -> Request {
    request(path, "127.0.0.1:5000", "localhost:3000")
}

async fn text(answer: Response) -> String {
    String::from_utf8(axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn every_resource_of_the_page_is_served() {
    let app = app(&memory());
    let page = text(app.clone().oneshot(local("/")).await.unwrap()).await;
    let named = page.split('"').filter(|part| part.starts_with("/demo/"));
    for path in named.chain(["/demo/socket.js"]) {
        let answer = app.clone().oneshot(local(path)).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
    }
    assert!(page.contains("data-path=\"/live\""));
    assert!(!page.contains("http://") && !page.contains("https://"), "the page loads from the network");
}

#[tokio::test]
async fn only_this_machine_is_served() {
    let app = app(&memory());
    let status =
        async |peer: &str, host: &str| app.clone().oneshot(token_request("1", peer, host)).await.unwrap().status();
    for host in ["localhost", "localhost:3000", "LOCALHOST", "127.0.0.1:80", "[::1]:3000"] {
        assert_eq!(status("127.0.0.1:5000", host).await, StatusCode::OK, "{host}");
    }
    assert_eq!(status("[::1]:5000", "localhost").await, StatusCode::OK);
    assert_eq!(status("[::ffff:127.0.0.1]:5000", "localhost").await, StatusCode::OK);
    for host in ["evil.example", "localhost.evil.example", "10.0.0.1", "127.0.0.1.evil.example:3000", ""] {
        assert_eq!(status("127.0.0.1:5000", host).await, StatusCode::FORBIDDEN, "{host}");
    }
    assert_eq!(status("10.1.2.3:5000", "localhost").await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn requests_from_other_origins_are_refused() {
    let app = app(&memory());
    let status = async |origin: &'static str| {
        let mut request = token_request("1", "127.0.0.1:5000", "localhost:3000");
        request.headers_mut().insert(header::ORIGIN, HeaderValue::from_static(origin));
        app.clone().oneshot(request).await.unwrap().status()
    };
    assert_eq!(status("http://localhost:3000").await, StatusCode::OK);
    for origin in ["https://evil.example", "http://localhost:4000", "null"] {
        assert_eq!(status(origin).await, StatusCode::FORBIDDEN, "{origin}");
    }
}

#[tokio::test]
async fn pages_of_other_origins_cannot_embed_anything() {
    let app = app(&memory());
    let status = async |path: &str, site: &'static str| {
        let mut request = local(path);
        request.headers_mut().insert("sec-fetch-site", HeaderValue::from_static(site));
        app.clone().oneshot(request).await.unwrap().status()
    };
    for site in ["same-origin", "none"] {
        assert_eq!(status("/demo/page.js", site).await, StatusCode::OK, "{site}");
    }
    // Another port of this machine is the same site.
    for site in ["same-site", "cross-site", "?"] {
        for path in ["/demo/token", "/demo/rows", "/demo/page.js", "/demo/emit"] {
            assert_eq!(status(path, site).await, StatusCode::FORBIDDEN, "{path} {site}");
        }
        assert_eq!(status("/", site).await, StatusCode::OK, "{site}");
    }
}

#[tokio::test]
async fn tokens_are_given_only_to_posted_json_and_never_run_as_scripts() {
    let app = app(&memory());
    let got = app.clone().oneshot(local("/demo/token?user=1")).await.unwrap();
    assert_eq!(got.status(), StatusCode::METHOD_NOT_ALLOWED);
    for simple in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        let mut request = token_request("1", "127.0.0.1:5000", "localhost:3000");
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(simple));
        assert_eq!(
            app.clone().oneshot(request).await.unwrap().status(),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "{simple}"
        );
    }
    for path in ["/", "/demo/page.js", "/demo/rows", "/demo/token", "/demo/nothing"] {
        let answer = app.clone().oneshot(local(path)).await.unwrap();
        assert_eq!(answer.headers().get(header::X_CONTENT_TYPE_OPTIONS).unwrap(), "nosniff", "{path}");
    }
}

#[tokio::test]
async fn the_page_can_mint_and_publish() {
    let app = app(&memory());
    let minted = app.clone().oneshot(token_request("a&b", "127.0.0.1:5000", "localhost:3000")).await.unwrap();
    assert_eq!(text(minted).await, "a token for a&b");
    let mut publish = local("/demo/emit");
    *publish.method_mut() = axum::http::Method::POST;
    publish.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    *publish.body_mut() = Body::from(r#"{"event":"message"}"#);
    assert_eq!(text(app.oneshot(publish).await.unwrap()).await, r#"{"event":"message"}"#);
}

#[tokio::test]
async fn rows_appear_as_they_become_durable() {
    let memory = memory();
    memory.set_time(7_000_000);
    let publisher = memory.bus().publisher("test.note").unwrap();
    publisher.offer(&json!({"kind": 0, "text": "before"})).unwrap();
    let answer = app(&memory).oneshot(local("/demo/rows")).await.unwrap();
    let mut events = answer.into_body().into_data_stream();
    publisher.offer(&json!({"kind": 1, "text": "after"})).unwrap();
    let event = events.next().await.unwrap().unwrap();
    let data = std::str::from_utf8(&event).unwrap().strip_prefix("data: ").unwrap();
    let seen: Value = serde_json::from_str(data.trim()).unwrap();
    let row = json!({"seq": 1, "time": 7_000_000, "kind": "long", "text": "after"});
    assert_eq!(seen, json!({"topic": "test.note", "count": 1, "rows": [row]}));
}
