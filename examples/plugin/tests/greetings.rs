//! The plugin on a bus in memory: no journal, no listener.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use greyhound_sdk::testing::memory::MemoryBus;
use greyhound_sdk::{Context, Drain, Health, Plugin};
use std::time::Duration;
use tower::ServiceExt;

use hello::{Config, GREETING, Greeting, Hello};

#[tokio::test]
async fn a_greeting_becomes_a_row_and_is_counted_once() {
    let memory = MemoryBus::new(Hello.topics().unwrap());
    let context = Context {
        bus: memory.bus(),
        node: "test".into(),
        data_dir: "not used".into(),
        health: Health::default(),
    };
    let mut component = Hello.build(Config::default(), context).await.unwrap();
    let routes = component.routes();
    let (handle, drain) = Drain::new();
    let running = tokio::spawn(component.run(drain));

    let request = Request::post("/greetings")
        .header("content-type", "application/json")
        .body(Body::from(r#"{"name": "Ann"}"#))
        .unwrap();
    assert_eq!(
        routes.oneshot(request).await.unwrap().status(),
        StatusCode::OK
    );
    let expected = Greeting {
        name: "Ann".into(),
        text: "Welcome, Ann!".into(),
    };
    assert_eq!(memory.rows::<Greeting>(GREETING), [expected]);

    let counted = async {
        while memory.cursor("hello", GREETING) != Some(1) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), counted)
        .await
        .unwrap();
    handle.request(Duration::from_secs(1));
    running.await.unwrap().unwrap();
}

#[test]
fn an_empty_word_is_refused() {
    let mut problems = greyhound_sdk::config::Problems::below("plugins.hello");
    Hello.validate(
        &Config {
            word: String::new(),
        },
        &mut problems,
    );
    assert_eq!(problems.into_list()[0].key, "plugins.hello.word");
}
