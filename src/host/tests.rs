use super::*;
use crate::config::Layers;
use async_trait::async_trait;
use greyhound_sdk::{Component, Context, Drain, Error, Start, TopicSchema};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

const NOTE: &str =
    r#"{"type": "record", "namespace": "test", "name": "note", "fields": [{"name": "text", "type": "string"}]}"#;

#[derive(Clone, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct NoConfig {}

#[derive(serde::Serialize, serde::Deserialize)]
struct Note {
    text: String,
}

/// What the plugins of a test have done.
#[derive(Clone, Default)]
struct Seen {
    lines: Arc<Mutex<Vec<String>>>,
    runs: Arc<AtomicUsize>,
    turns: Arc<AtomicUsize>,
    running: Arc<Notify>,
    released: Arc<AtomicBool>,
}

impl Seen {
    fn say(&self, line: impl Into<String>) {
        self.lines.lock().push(line.into());
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Publishes a note when it is drained.
    Source,
    /// Reads notes up to the last durable one when it is drained.
    Sink,
    /// Fails on its first run.
    Fails,
    Panics,
    /// Cannot be built.
    Unbuildable,
    /// Ignores the drain.
    Deaf,
    /// Blocks all worker threads.
    Blocks,
    /// Blocks one worker thread.
    BlocksOne,
    /// Keeps all worker threads busy with tasks that yield.
    Saturates,
}

struct Part(Kind, Seen);

#[async_trait]
impl Plugin for Part {
    type Config = NoConfig;

    fn name(&self) -> &'static str {
        match self.0 {
            Kind::Sink => "sink",
            _ => "source",
        }
    }

    fn topics(&self) -> Result<Vec<TopicSchema>, greyhound_sdk::SchemaError> {
        if self.0 == Kind::Sink { Ok(Vec::new()) } else { Ok(vec![TopicSchema::from_avro(NOTE)?]) }
    }

    async fn build(&self, _: NoConfig, context: Context) -> Result<Box<dyn Component>, Error> {
        self.1.say(format!("build {}", self.name()));
        match self.0 {
            Kind::Unbuildable => Err("no luck".into()),
            kind => Ok(Box::new(Running(kind, self.1.clone(), context))),
        }
    }
}

struct Running(Kind, Seen, Context);

#[async_trait]
impl Component for Running {
    async fn run(self: Box<Self>, mut drain: Drain) -> Result<(), Error> {
        let Self(kind, seen, context) = *self;
        let first = seen.runs.fetch_add(1, Ordering::SeqCst) == 0;
        match kind {
            Kind::Fails if first => return Err("out of order".into()),
            Kind::Panics if first => panic!("on purpose"),
            Kind::Deaf => {
                seen.running.notify_one();
                std::future::pending().await
            }
            Kind::Blocks | Kind::BlocksOne => {
                let tasks = if kind == Kind::Blocks { 2 * cores() } else { 1 };
                (0..tasks).for_each(|_| drop(tokio::spawn(block(seen.released.clone()))));
                seen.running.notify_one();
                std::future::pending().await
            }
            Kind::Saturates => {
                (0..2 * cores()).for_each(|_| drop(tokio::spawn(work(seen.clone()))));
                seen.running.notify_one();
            }
            _ => seen.running.notify_one(),
        }
        let mut consumer = context.bus.consumer("sink", "test.note", Start::Earliest).await?;
        drain.requested().await;
        match kind {
            Kind::Sink => {
                while consumer.position() < consumer.bounds().end {
                    for batch in consumer.next(1 << 20).await? {
                        let notes: Vec<Note> = batch.read()?;
                        notes.iter().for_each(|note| seen.say(format!("read {}", note.text)));
                    }
                }
            }
            _ => {
                context.bus.publisher("test.note")?.offer(&Note { text: "last words".into() })?;
                seen.say("published");
            }
        }
        Ok(())
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Works in turns of 50 ms, and yields after each. Counts them.
async fn work(seen: Seen) {
    while !seen.released.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(50));
        seen.turns.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
    }
}

/// Blocks the thread, like a decoder in an endless loop.
async fn block(released: Arc<AtomicBool>) {
    while !released.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Returns the response to `GET path`.
async fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

pub(super) fn config(dir: &Path, more: &str) -> Tree {
    let file = dir.join("greyhound.toml");
    let text = format!(
        "[node]\nname = \"test\"\ndata_dir = {:?}\n[admin]\nlisten = \"127.0.0.1:0\"\n{more}",
        dir.join("data")
    );
    std::fs::write(&file, text).unwrap();
    Layers { file: Some(file), environment: HashMap::new() }.load().unwrap()
}

/// A program that exits if a task blocks a worker for two seconds, and the port of its admin listener.
fn watched(dir: &Path, kind: Kind, seen: &Seen) -> (Host, u16) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut config = config(dir, "[host]\nwatchdog = \"2s\"");
    config.set("admin.listen", format!("127.0.0.1:{port}"));
    (Host::builder().plugin(Part(kind, seen.clone())).configure(config).unwrap(), port)
}

async fn run(dir: &Path, more: &str, kinds: &[Kind], seen: &Seen) -> Result<(), RunError> {
    let host = kinds.iter().fold(Host::builder(), |host, kind| host.plugin(Part(*kind, seen.clone())));
    let running = seen.running.clone();
    let host = host.configure(config(dir, more)).unwrap();
    let run = host.run(async move { running.notified().await });
    tokio::time::timeout(Duration::from_secs(30), run).await.expect("ends in time")
}

#[test]
#[should_panic(expected = "two plugins are called `source`")]
fn two_plugins_of_one_name_are_refused() {
    let plugin = || Part(Kind::Source, Seen::default());
    let _ = Host::builder().plugin(plugin()).plugin(plugin());
}

#[tokio::test(flavor = "multi_thread")]
async fn sinks_start_before_sources_and_get_their_last_rows() {
    let (dir, seen) = (tempfile::tempdir().unwrap(), Seen::default());
    run(dir.path(), "", &[Kind::Source, Kind::Sink], &seen).await.unwrap();
    assert_eq!(*seen.lines.lock(), ["build sink", "build source", "published", "read last words"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_fails_or_panics_is_restarted() {
    for kind in [Kind::Fails, Kind::Panics] {
        let (dir, seen) = (tempfile::tempdir().unwrap(), Seen::default());
        run(dir.path(), "", &[kind], &seen).await.unwrap();
        assert_eq!(seen.runs.load(Ordering::SeqCst), 2);
        assert_eq!(*seen.lines.lock(), ["build source", "build source", "published"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_plugin_ends_the_process_if_configured() {
    let (dir, seen) = (tempfile::tempdir().unwrap(), Seen::default());
    let error = run(dir.path(), "[host]\non_failure = \"exit\"", &[Kind::Fails], &seen).await.unwrap_err();
    assert_eq!(error.to_string(), "plugin source: out of order");
    assert_eq!(seen.runs.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_cannot_be_built_does_not_leave_the_directory_locked() {
    let (dir, seen) = (tempfile::tempdir().unwrap(), Seen::default());
    let error = run(dir.path(), "", &[Kind::Unbuildable], &seen).await.unwrap_err();
    assert_eq!(error.to_string(), "plugin source: no luck");
    run(dir.path(), "", &[Kind::Source], &seen).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_does_not_drain_is_aborted_after_the_deadline() {
    let (dir, seen) = (tempfile::tempdir().unwrap(), Seen::default());
    let started = std::time::Instant::now();
    run(dir.path(), "[host]\nshutdown_deadline = \"1s\"", &[Kind::Deaf], &seen).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_program_can_use_a_data_directory() {
    let (dir, seen) = (tempfile::tempdir().unwrap(), Seen::default());
    let stop = Arc::new(Notify::new());
    let (until, first) = (
        stop.clone(),
        Host::builder().plugin(Part(Kind::Source, seen.clone())).configure(config(dir.path(), "")).unwrap(),
    );
    let first = tokio::spawn(first.run(async move { until.notified().await }));
    seen.running.notified().await;
    let refused = run(dir.path(), "", &[Kind::Source], &seen).await.unwrap_err().to_string();
    assert!(refused.contains(&std::process::id().to_string()) && refused.contains("node.data_dir"), "{refused}");
    stop.notify_one();
    first.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_error_of_a_used_admin_address_names_the_key() {
    let (dir, seen) = (tempfile::tempdir().unwrap(), Seen::default());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = config(dir.path(), "");
    config.set("admin.listen", taken.local_addr().unwrap().to_string());
    let host = Host::builder().plugin(Part(Kind::Source, seen)).configure(config).unwrap();
    let error = host.run(std::future::pending()).await.unwrap_err().to_string();
    assert!(error.contains("admin.listen") && error.contains(&taken.local_addr().unwrap().to_string()), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_blocks_workers_delays_neither_health_nor_the_exit() {
    for kind in [Kind::Blocks, Kind::BlocksOne] {
        check_that_blocked_workers_delay_neither_health_nor_the_exit(kind).await;
    }
}

async fn check_that_blocked_workers_delay_neither_health_nor_the_exit(kind: Kind) {
    let (dir, seen) = (tempfile::tempdir().unwrap(), Seen::default());
    let (host, port) = watched(dir.path(), kind, &seen);
    let running = tokio::spawn(host.run(std::future::pending()));
    seen.running.notified().await;
    tokio::time::timeout(Duration::from_secs(20), async {
        assert!(get(port, "/healthz").await.contains("200 OK"));
        while !get(port, "/readyz").await.contains("a task of a plugin has blocked a worker thread for") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let ended = running.await.unwrap().unwrap_err();
        assert!(matches!(ended, RunError::Stalled(blocked) if blocked >= Duration::from_secs(2)), "{ended}");
    })
    .await
    .unwrap();
    seen.released.store(true, Ordering::SeqCst);
    // The log is closed. The directory is unlocked as soon as the last worker ends.
    let again = async {
        while let Err(held) = run(dir.path(), "", &[Kind::Source], &Seen::default()).await {
            assert!(matches!(held, RunError::Log(_)), "{held}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), again).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_are_busy_but_not_blocked_stay_ready() {
    let (dir, seen) = (tempfile::tempdir().unwrap(), Seen::default());
    let (host, port) = watched(dir.path(), Kind::Saturates, &seen);
    let stop = Arc::new(Notify::new());
    let until = stop.clone();
    let running = tokio::spawn(host.run(async move { until.notified().await }));
    seen.running.notified().await;
    // Longer than the watchdog lets a task block a worker.
    while seen.turns.load(Ordering::SeqCst) < 60 * cores() {
        let answer = get(port, "/readyz").await;
        assert!(answer.contains("200 OK"), "{answer}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    seen.released.store(true, Ordering::SeqCst);
    stop.notify_one();
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_whose_workers_are_blocked_stops_on_request() {
    let (dir, seen) = (tempfile::tempdir().unwrap(), Seen::default());
    let started = std::time::Instant::now();
    run(dir.path(), "[host]\nshutdown_deadline = \"1s\"", &[Kind::Blocks], &seen).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(10));
    seen.released.store(true, Ordering::SeqCst);
}
