//! Compares rows written through the bus to the journal with a plain loop that appends the same bytes.
//!
//! `cargo bench --bench journal` prints two Markdown tables: bytes per second of both, alternating on the same disk,
//! for groups of several sizes; and the size of a delivery row in the journal. Environment: `BENCH_DIR` (a directory on
//! the disk to use; default: the build directory), `ROUNDS` (5), `MEGABYTES` (256 per round).

use arrow_array::{ArrayRef, Int8Array, Int32Array, Int64Array, RecordBatch, StringArray};
use greyhound::bus::{BusOptions, EventBus};
use greyhound::log::journal::{Journal, Options, SyncPolicy};
use greyhound::log::{Body, Frame, Log, Retention};
use greyhound_sdk::fs::OsFileSystem;
use greyhound_sdk::{Health, Publisher, TopicSchema};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

const RECIPIENTS: usize = 1000;

fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let dir = setting("BENCH_DIR", PathBuf::from(env!("CARGO_TARGET_TMPDIR")));
    println!("| a group | plain loop | journal | journal / plain |\n|---|---|---|---|");
    for group in [64 << 10, 256 << 10, 1 << 20, 4 << 20] {
        compare(&dir, group).await;
    }
    println!("\n| delivery rows | bytes a row in the journal |\n|---|---|");
    println!("| of broadcasts to {RECIPIENTS} | {:.1} |", bytes_a_row(&dir, 200, broadcast).await);
    println!(
        "| of messages to single users, 256 at a time | {:.1} |",
        bytes_a_row(&dir, 200, |p, n| singles(p, n, 256)).await
    );
    println!(
        "| of messages to single users, 16 at a time | {:.1} |",
        bytes_a_row(&dir, 200, |p, n| singles(p, n, 16)).await
    );
    println!("| of a message to a single user, alone | {:.1} |", bytes_a_row(&dir, 200, |p, n| singles(p, n, 1)).await);
}

/// Alternates between the two, so that changes of the disk's speed affect both.
async fn compare(dir: &Path, group: usize) {
    let bytes = setting::<usize>("MEGABYTES", 256) << 20;
    let (mut plain, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..setting("ROUNDS", 5) {
        plain.push(plain_loop(dir, group, bytes / group));
        ours.push(journal(dir, group, bytes / group).await);
    }
    let (plain, ours) = (median(plain), median(ours));
    println!("| {} KiB | {plain:.0} MB/s | {ours:.0} MB/s | {:.0}% |", group >> 10, ours / plain * 100.0);
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn rate(bytes: u64, since: Instant) -> f64 {
    bytes as f64 / since.elapsed().as_secs_f64() / 1e6
}

fn plain_loop(dir: &Path, group: usize, count: usize) -> f64 {
    let dir = tempfile::tempdir_in(dir).expect("a directory");
    let mut file = File::create(dir.path().join("plain")).expect("a file");
    let bytes = vec![7; group];
    let started = Instant::now();
    for _ in 0..count {
        file.write_all(&bytes).and_then(|()| file.sync_data()).expect("the disk writes");
    }
    rate((group * count) as u64, started)
}

async fn journal(dir: &Path, group: usize, count: usize) -> f64 {
    let dir = tempfile::tempdir_in(dir).expect("a directory");
    let journal = open(dir.path());
    let mut writer = journal.writer().await.expect("a writer");
    writer.register("bench.delivery", 1, "{}").await.expect("room for a schema");
    // Frames like those of broadcasts to a thousand clients.
    let batch = bytes::Bytes::from(vec![7; 48 << 10]);
    let frames = (group / batch.len()).max(1);
    let batch = batch.slice(..batch.len().min(group - 64));
    let (started, before, mut first) = (Instant::now(), journal.size(), 0);
    for n in 0..count {
        let group: Vec<Frame> = (0..frames).map(|_| frame(&mut first, n as i64, batch.clone())).collect();
        writer.append(&group).await.expect("the disk writes");
    }
    rate(journal.size() - before, started)
}

fn frame(first: &mut u64, time: i64, batch: bytes::Bytes) -> Frame {
    let rows = RECIPIENTS as u32;
    let frame =
        Frame { topic: "bench.delivery".into(), first: *first, rows, time, body: Body::Rows { schema: 1, batch } };
    *first += u64::from(rows);
    frame
}

fn open(dir: &Path) -> Arc<Journal> {
    let options = Options { node: "bench".to_owned(), sync: SyncPolicy::Fsync, segment_size: 128 << 20 };
    Journal::open(Arc::new(OsFileSystem), dir, options).expect("a journal")
}

async fn bytes_a_row(dir: &Path, rounds: usize, publish: fn(&Publisher, usize) -> u64) -> f64 {
    let dir = tempfile::tempdir_in(dir).expect("a directory");
    let journal = open(&dir.path().join("journal"));
    let retention = Retention { bytes: u64::MAX, age: Duration::from_secs(3600), disk_cap: u64::MAX };
    let options = BusOptions::new(Arc::new(OsFileSystem), dir.path().join("cursors"), retention, Health::default());
    let schema =
        TopicSchema::from_avro(include_str!("../schemas/messaging.delivery.avsc")).expect("the schema of deliveries");
    let bus = EventBus::start(journal.clone(), vec![schema], options).await.expect("a bus");
    let publisher = bus.handle().publisher("messaging.delivery").expect("the topic");
    let before = journal.size();
    let mut end = 0;
    for round in 0..rounds {
        end = publish(&publisher, round);
        publisher.durable(end - 1).await.expect("the rows are durable");
    }
    (journal.size() - before) as f64 / end as f64
}

/// Publishes the rows of one broadcast; returns the number after the last.
fn broadcast(publisher: &Publisher, message: usize) -> u64 {
    let users: ArrayRef = Arc::new(StringArray::from_iter_values((0..RECIPIENTS).map(|n| (100_000 + n).to_string())));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_value(message as i64, RECIPIENTS)),
        Arc::new(Int64Array::from_iter_values(0..RECIPIENTS as i64)),
        users,
        Arc::new(Int8Array::from_value(0, RECIPIENTS)),
        Arc::new(Int32Array::from_value(250, RECIPIENTS)),
    ];
    let rows = RecordBatch::try_new(publisher.schema().columns().clone(), columns).expect("the columns of a delivery");
    publisher.offer_batch(rows).expect("room") + RECIPIENTS as u64
}

/// Publishes single rows, as many as wait for one sync under load; returns the number after the last.
fn singles(publisher: &Publisher, round: usize, count: usize) -> u64 {
    #[derive(serde::Serialize)]
    struct Row {
        message_seq: i64,
        connection_seq: i64,
        user_id: String,
        outcome: i8,
        latency_us: i32,
    }
    let row = |n: usize| Row {
        message_seq: (round * count + n) as i64,
        connection_seq: n as i64,
        user_id: (100_000 + n).to_string(),
        outcome: 0,
        latency_us: 40,
    };
    (0..count).fold(0, |_, n| publisher.offer(&row(n)).expect("room") + 1)
}
