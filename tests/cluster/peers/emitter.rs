//! crates.io's socketio-rust-emitter: publishes each line of standard input, {rooms, namespace, event, args}; args are
//! texts.

use serde_json::Value;
use socketio_rust_emitter::Emitter;
use std::io::{BufRead, stdin};

fn main() {
    let port = std::env::args().nth(1).expect("the port of Redis");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let texts = |value: &Value| value.as_array().expect("texts").iter().map(text).collect::<Vec<_>>();
    for line in stdin().lock().lines() {
        let it: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
        let mut io = Emitter::new(format!("127.0.0.1:{port}").as_str()).of(&text(&it["namespace"]));
        for room in texts(&it["rooms"]) {
            io = io.to(&room);
        }
        let (event, args) = (text(&it["event"]), texts(&it["args"]));
        io.emit([&event].into_iter().chain(&args).map(String::as_str).collect());
    }
}
