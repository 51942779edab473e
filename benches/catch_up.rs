//! Measures how fast the sink catches up: a journal full of broadcasts and single messages, written to a local
//! directory.
//!
//! `cargo bench --bench catch_up` prints Markdown: every few seconds the progress of the tables, the age of the oldest
//! row that is not in them, and the memory; then the rate. Environment: `ROWS` (default 5 million; 72 million
//! correspond to an outage of one hour at 20,000 rows/s), `BENCH_DIR` (a directory on the disk to use; default: the
//! build directory). A separate process fills the journal, so that the measured memory is that of the sink. Fails if
//! the files of a table were not committed oldest first.

use arrow_array::{ArrayRef, Int8Array, Int32Array, Int64Array, RecordBatch, StringArray};
use greyhound::bus::{BusOptions, Clock, EventBus};
use greyhound::log::Retention;
use greyhound::log::journal::{Journal, Options, SyncPolicy};
use greyhound_activity::{Activity, Config};
use greyhound_sdk::fs::OsFileSystem;
use greyhound_sdk::{Bus, Component, Context, Drain, Health, Plugin, Publisher, TopicSchema};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::time::timeout;

/// The rows of one second at 20,000 rows/s: half from broadcasts, half from single messages with two rows each.
const BROADCASTS: u64 = 10;
const RECIPIENTS: u64 = 999;
const SINGLES: u64 = 5_000;
const ROWS_A_SECOND: u64 = BROADCASTS * (RECIPIENTS + 1) + SINGLES * 2;
/// The number of single messages in one group of the journal.
const GROUP: u64 = 16;
const STEP: Duration = Duration::from_secs(2);

fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

#[tokio::main]
async fn main() {
    let seconds = setting("ROWS", 5_000_000_u64).div_ceil(ROWS_A_SECOND);
    if let Ok(dir) = std::env::var("FILL") {
        return fill(Path::new(&dir), seconds).await;
    }
    let dir =
        tempfile::tempdir_in(setting("BENCH_DIR", PathBuf::from(env!("CARGO_TARGET_TMPDIR")))).expect("a directory");
    let filler = std::env::current_exe().expect("this program");
    let filled = std::process::Command::new(filler).env("FILL", dir.path()).status().expect("a process");
    assert!(filled.success());
    catch_up(dir.path(), seconds * ROWS_A_SECOND).await;
}

async fn open(dir: &Path, clock: Clock) -> EventBus {
    let options = Options { node: "bench".to_owned(), sync: SyncPolicy::Memory, segment_size: 128 << 20 };
    let journal = Journal::open(Arc::new(OsFileSystem), &dir.join("journal"), options).expect("a journal");
    let retention = Retention { bytes: u64::MAX, age: Duration::from_secs(86_400), disk_cap: u64::MAX };
    let options = BusOptions {
        clock,
        ..BusOptions::new(Arc::new(OsFileSystem), dir.join("cursors"), retention, Health::default())
    };
    let schemas =
        [include_str!("../schemas/messaging.message.avsc"), include_str!("../schemas/messaging.delivery.avsc")];
    let mut topics: Vec<_> = schemas.into_iter().map(|avro| TopicSchema::from_avro(avro).expect("a schema")).collect();
    topics.extend(Activity.topics().expect("schemas"));
    EventBus::start(journal, topics, options).await.expect("a bus")
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_micros() as i64
}

// === the outage ===

/// Publishes the rows of so many seconds, up to now.
async fn fill(dir: &Path, seconds: u64) {
    let begin = now() - seconds as i64 * 1_000_000;
    let time = Arc::new(AtomicI64::new(begin));
    let shown = time.clone();
    let bus = open(dir, Clock::new(move || shown.load(Ordering::Relaxed))).await;
    let (messages, deliveries) =
        (publisher(&bus.handle(), "messaging.message"), publisher(&bus.handle(), "messaging.delivery"));
    for second in 0..seconds {
        time.store(begin + second as i64 * 1_000_000, Ordering::Relaxed);
        for _ in 0..BROADCASTS {
            let message = messages.offer(&message("site(example.com)", RECIPIENTS)).expect("room");
            let last = deliveries.offer_batch(broadcast(&deliveries, message)).expect("room") + RECIPIENTS - 1;
            deliveries.durable(last).await.expect("a disk");
        }
        for single in 0..SINGLES {
            let user = (second * SINGLES + single) * 7919 % 100_000;
            let message = messages.offer(&message(&format!("user({user})"), 1)).expect("room");
            let last = deliveries.offer(&Delivery::of(message, user)).expect("room");
            if single % GROUP == GROUP - 1 {
                deliveries.durable(last).await.expect("a disk");
            }
        }
    }
    bus.close(Duration::from_secs(60)).await;
}

fn publisher(bus: &Bus, topic: &str) -> Publisher {
    bus.publisher(topic).expect("the topic")
}

#[derive(serde::Serialize)]
struct Message<'a> {
    source: &'a str,
    publisher: Option<&'a str>,
    namespace: &'a str,
    rooms: [&'a str; 1],
    excluded: [&'a str; 0],
    event: &'a str,
    size_bytes: i64,
    recipients: u64,
    data: Option<&'a str>,
    origin: Option<&'a str>,
    digest: Option<i64>,
}

fn message(room: &str, recipients: u64) -> Message<'_> {
    let (source, publisher) = ("emitter 4-5", Some("emitter"));
    let (size_bytes, digest) = (100, Some(now().wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64)));
    Message {
        source,
        publisher,
        namespace: "/",
        rooms: [room],
        excluded: [],
        event: "message",
        size_bytes,
        recipients,
        data: None,
        origin: None,
        digest,
    }
}

#[derive(serde::Serialize)]
struct Delivery {
    message_seq: u64,
    connection_seq: u64,
    user_id: String,
    outcome: i8,
    latency_us: u64,
}

impl Delivery {
    fn of(message: u64, user: u64) -> Self {
        Self {
            message_seq: message,
            connection_seq: user,
            user_id: (100_000 + user).to_string(),
            outcome: 0,
            latency_us: 40 + user % 200,
        }
    }
}

fn broadcast(deliveries: &Publisher, message: u64) -> RecordBatch {
    let count = RECIPIENTS as usize;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_value(message as i64, count)),
        Arc::new(Int64Array::from_iter_values(0..RECIPIENTS as i64)),
        Arc::new(StringArray::from_iter_values((0..RECIPIENTS).map(|n| (100_000 + n).to_string()))),
        Arc::new(Int8Array::from_value(0, count)),
        Arc::new(Int32Array::from_value(200 + (message % 100) as i32, count)),
    ];
    RecordBatch::try_new(deliveries.schema().columns().clone(), columns).expect("the columns of a delivery")
}

// === its end ===

async fn catch_up(dir: &Path, rows: u64) {
    let metrics = PrometheusBuilder::new().install_recorder().expect("the only recorder");
    let bus = open(dir, Clock::system()).await;
    let started = Instant::now();
    let (sink, drain) = (sink(&bus, dir).await, Drain::new());
    let mut run = tokio::spawn(sink.run(drain.1));
    // It ends after the last row, not when the last file is due.
    drain.0.request(Duration::from_secs(3600));
    println!("| seconds | million rows committed | oldest row not committed, s ago | resident |\n|---|---|---|---|");
    let ended = loop {
        match timeout(STEP, &mut run).await {
            Ok(ended) => break ended,
            Err(_) => print(started, &bus, &metrics),
        }
    };
    ended.expect("no panic").expect("all is committed");
    let took = started.elapsed().as_secs_f64();
    assert_eq!(committed(&bus), rows, "committed");
    let files = oldest_first(&dir.join("tables"));
    println!(
        "\n{rows} rows in {took:.1} s: {:.0} rows/s, {files} files, {} MB resident at most",
        rows as f64 / took,
        memory("VmHWM")
    );
}

fn print(started: Instant, bus: &EventBus, metrics: &PrometheusHandle) {
    let (seconds, committed) = (started.elapsed().as_secs_f64(), committed(bus) as f64 / 1e6);
    println!("| {seconds:.0} | {committed:.1} | {:.0} | {} MB |", age(metrics), memory("VmRSS"));
}

async fn sink(bus: &EventBus, dir: &Path) -> Box<dyn Component> {
    let config = Config { store: dir.join("tables").display().to_string(), ..Config::default() };
    let context =
        Context { bus: bus.handle(), node: "bench".into(), data_dir: dir.join("activity"), health: Health::default() };
    Activity.build(config, context).await.expect("a sink")
}

/// Returns the number of committed rows of messages and deliveries.
fn committed(bus: &EventBus) -> u64 {
    let messaging = bus.status().into_iter().filter(|topic| topic.topic.starts_with("messaging"));
    messaging.flat_map(|topic| topic.consumers).map(|consumer| consumer.position).sum()
}

fn age(metrics: &PrometheusHandle) -> f64 {
    let text = metrics.render();
    let ages = text.lines().filter(|line| line.starts_with("greyhound_activity_uncommitted_age_seconds{"));
    ages.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).fold(0.0, f64::max)
}

/// Returns a line of `/proc/self/status` in MB.
fn memory(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let value = status.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(':')).expect("a line of memory");
    value.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1000
}

/// Returns the number of files. Checks that the files of each table were written in the order of their first rows.
fn oldest_first(root: &Path) -> usize {
    let tables = ["messaging.message", "messaging.delivery"].map(|topic| {
        let mut files = Vec::new();
        collect(&root.join(topic), &mut files);
        files.sort();
        assert!(files.is_sorted_by_key(|(_, written)| *written), "{files:?}");
        files.len()
    });
    tables.into_iter().sum()
}

/// Returns the data files below `dir`: their names, which are their first rows, and when they were written.
fn collect(dir: &Path, files: &mut Vec<(String, SystemTime)>) {
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().to_string_lossy().into_owned();
        match entry.file_type().expect("a type").is_dir() {
            true => collect(&entry.path(), files),
            false if name.ends_with(".parquet") => {
                files.push((name, entry.metadata().and_then(|m| m.modified()).expect("a time")))
            }
            false => {}
        }
    }
}
