//! The sink against a bus in memory and a disk whose power is cut.

mod checks;
mod compaction;
mod encodings;
mod faults;
mod faulty_store;
mod first_hour;
mod memory;
mod mishaps;
mod paused_store;
mod unfit;
mod value_digests;
mod verify;

use crate::age::Oldest;
use crate::compact::Compactor;
use crate::encode::Encodings;
use crate::layout::{HOUR_US, Hour, directory};
use crate::record::{self, SINK_TOPIC};
use crate::repair_api::RunningTables;
use crate::roll_policy::Policy;
use crate::store::Store;
use crate::store::local::LocalStore;
use crate::success::Success;
use crate::table::{Stop, Table, Tables};
use faults::POLICY;
use faulty_store::{Dice, FaultyStore};
use greyhound_sdk::fs::SharedFs;
use greyhound_sdk::plugin::DrainHandle;
use greyhound_sdk::testing::memory::MemoryBus;
use greyhound_sdk::testing::power_cut::PowerCut;
use greyhound_sdk::{Drain, Health, Shard, Start, TopicSchema};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use paused_store::PausedStore;
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio::time::timeout;

const TOPIC: &str = "shop.order";
const NOON: i64 = 494_000 * HOUR_US;

#[derive(Serialize, serde::Deserialize)]
struct Order {
    state: i8,
    buyer_id: String,
}

fn bus() -> MemoryBus {
    let avro = r#"{"type": "record", "namespace": "shop", "name": "order", "fields": [
        {"name": "state", "type": {"type": "enum", "name": "state", "symbols": ["open", "paid"]}},
        {"name": "buyer_id", "type": "string"}]}"#;
    let memory = MemoryBus::new(vec![TopicSchema::from_avro(avro).unwrap(), record::schema().unwrap()]);
    memory.set_time(NOON);
    memory
}

fn publish(memory: &MemoryBus, buyers: std::ops::Range<u64>) {
    let publisher = memory.bus().publisher(TOPIC).unwrap();
    for buyer in buyers {
        publisher.offer(&Order { state: (buyer % 2) as i8, buyer_id: buyer.to_string() }).unwrap();
    }
}

/// A running table.
struct Running {
    task: JoinHandle<Result<(), Stop>>,
    drain: DrainHandle,
    health: Health,
}

async fn start(memory: &MemoryBus, disk: &PowerCut, age: Duration) -> Running {
    let fs: SharedFs = Arc::new(disk.clone());
    start_on(memory, Arc::new(LocalStore::new(fs, "/tables")), Policy { file_size: 1 << 20, age }).await
}

async fn start_on(memory: &MemoryBus, store: Arc<dyn Store>, policy: Policy) -> Running {
    let compactor = Compactor::new(store.clone(), policy.file_size as u64, None).resting();
    start_with(memory, store, policy, compactor).await
}

async fn start_with(memory: &MemoryBus, store: Arc<dyn Store>, policy: Policy, compactor: Compactor) -> Running {
    start_topic(memory, TOPIC, store, policy, compactor).await
}

thread_local! {
    /// Where a test asks its tables.
    static RUNNING: RunningTables = RunningTables::default();
}

fn running_tables() -> RunningTables {
    RUNNING.with(Clone::clone)
}

async fn start_topic(
    memory: &MemoryBus,
    topic: &str,
    store: Arc<dyn Store>,
    policy: Policy,
    compactor: Compactor,
) -> Running {
    let tables =
        Tables { bus: memory.bus(), store, compactor, policy, encodings: Encodings::Modern, running: running_tables() };
    let (handle, drain) = Drain::new();
    let health = Health::default().of(topic);
    let table = Table::new(&tables, topic, health.clone(), drain).await.unwrap();
    Running { task: tokio::spawn(table.run()), drain: handle, health }
}

impl Running {
    async fn drained(self) -> Result<(), Stop> {
        self.drain.request(Duration::from_secs(10));
        self.task.await.unwrap()
    }
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "not within 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// `seq` of every row of every file, in the order of the files.
fn numbers(disk: &PowerCut) -> Vec<i64> {
    let mut files = disk.files();
    files.retain(|f| f.extension().is_some_and(|e| e == "parquet"));
    files.sort();
    files.iter().flat_map(|f| read(disk.content(f).unwrap())).map(|(seq, _)| seq).collect()
}

/// `seq` and `buyer_id` of a file.
fn read(content: Vec<u8>) -> Vec<(i64, String)> {
    use arrow_array::cast::AsArray;
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(content)).unwrap().build().unwrap();
    let rows = reader.flat_map(|batch| {
        let batch = batch.unwrap();
        let seq = batch["seq"].as_primitive::<arrow_array::types::Int64Type>().values().to_vec();
        let buyers = batch["buyer_id"].as_string::<i32>().iter().map(|b| b.unwrap().to_owned()).collect::<Vec<_>>();
        seq.into_iter().zip(buyers).collect::<Vec<_>>()
    });
    rows.collect()
}

fn success(disk: &PowerCut, hour: i64) -> Option<Success> {
    let path = format!("/tables/{}/_SUCCESS", directory(TOPIC, Hour(hour), &Shard::new("test", 1)));
    serde_json::from_slice(&disk.content(Path::new(&path))?).ok()
}

#[tokio::test]
async fn rows_are_committed_when_their_time_is_up_and_when_drained() {
    let (memory, disk) = (bus(), PowerCut::new());
    let table = start(&memory, &disk, Duration::from_millis(50)).await;
    publish(&memory, 0..100);
    eventually("the first rows are committed although nothing follows", || numbers(&disk).len() == 100).await;
    publish(&memory, 100..150);
    table.drained().await.unwrap();
    assert_eq!(numbers(&disk), (0..150).collect::<Vec<_>>());
    assert_eq!(memory.cursor("activity", TOPIC), Some(150));
}

#[tokio::test]
async fn a_file_ends_at_a_hole_and_at_the_hour() {
    let (memory, disk) = (bus(), PowerCut::new());
    let table = start(&memory, &disk, Duration::from_secs(600)).await;
    publish(&memory, 0..10);
    memory.skip(TOPIC, 5);
    publish(&memory, 15..20);
    memory.set_time(NOON + HOUR_US);
    publish(&memory, 20..30);
    table.drained().await.unwrap();
    let mut names: Vec<_> = disk
        .files()
        .iter()
        .filter(|f| f.extension().is_some_and(|e| e == "parquet"))
        .map(|f| f.display().to_string())
        .collect();
    names.sort();
    let shard = |hour: i64| format!("/tables/{}", directory(TOPIC, Hour(494_000 + hour), &Shard::new("test", 1)));
    let expected =
        [(0, 0), (0, 15), (1, 20)].map(|(hour, first): (i64, u64)| format!("{}/{first:020}.parquet", shard(hour)));
    assert_eq!(names, expected);
}

#[tokio::test]
async fn hours_are_closed_by_the_floor_with_their_gaps_and_the_empty_ones_too() {
    let (memory, disk) = (bus(), PowerCut::new());
    let table = start(&memory, &disk, Duration::from_secs(600)).await;
    publish(&memory, 0..10);
    memory.skip(TOPIC, 5);
    publish(&memory, 15..20);
    eventually("the rows are read", || memory.batches(TOPIC).len() == 15).await;
    assert_eq!(success(&disk, 494_000), None, "the hour is not over");
    memory.set_time(NOON + 3 * HOUR_US);
    eventually("three hours are closed", || success(&disk, 494_002).is_some()).await;
    let first = success(&disk, 494_000).unwrap();
    assert_eq!((first.rows, first.first, first.last, first.next), (15, Some(0), Some(19), 20));
    assert_eq!((first.files, first.gaps), (vec![(0, 9), (15, 19)], vec![(10, 14)]));
    let empty = success(&disk, 494_001).unwrap();
    assert_eq!((empty.rows, empty.first, empty.next), (0, None, 20));
    table.drained().await.unwrap();

    memory.skip(TOPIC, 2);
    publish(&memory, 22..23);
    memory.set_time(NOON + 6 * HOUR_US);
    let table = start(&memory, &disk, Duration::from_secs(600)).await;
    eventually("the hours of the downtime are closed", || success(&disk, 494_005).is_some()).await;
    assert_eq!(success(&disk, 494_003).unwrap().gaps, [(20, 21)]);
    table.drained().await.unwrap();
}

#[tokio::test]
async fn after_a_long_downtime_neither_rows_nor_the_end_wait_for_the_empty_hours() {
    const DOWN: i64 = 60 * 24;
    let (memory, store) = (bus(), FaultyStore::new(Dice::new(0)));
    publish(&memory, 0..10);
    start_on(&memory, Arc::new(store.clone()), POLICY).await.drained().await.unwrap();
    memory.set_time(NOON + DOWN * HOUR_US);
    publish(&memory, 10..20);
    let paused = PausedStore::new(Arc::new(store.clone()), 200);
    let table = start_on(&memory, Arc::new(paused.clone()), POLICY).await;
    let closed = || faults::closed(&store.files());
    eventually("it is closing hours", || paused.is_stopped()).await;
    assert_eq!(memory.cursor("activity", TOPIC), Some(20), "the rows are committed");
    table.drain.request(Duration::from_secs(10));
    paused.go_on_for(50);
    table.task.await.unwrap().unwrap();
    assert!(!paused.is_stopped(), "it goes on no further than the hour that it was at");
    let hours = |range: std::ops::Range<i64>| range.map(|hour| Hour(NOON / HOUR_US + hour)).collect::<Vec<_>>();
    assert_eq!(closed(), hours(0..closed().len() as i64), "the oldest first");

    let table = start_on(&memory, Arc::new(store.clone()), POLICY).await;
    eventually("every hour is closed", || closed().len() as i64 == DOWN).await;
    assert_eq!(closed(), hours(0..DOWN));
    table.drained().await.unwrap();
}

#[tokio::test]
async fn a_shard_that_is_new_to_a_table_does_not_look_through_all_hours_of_others() {
    let (memory, store) = (bus(), FaultyStore::new(Dice::new(0)));
    for hour in 1..500 {
        let path = format!("{}/x.parquet", directory(TOPIC, Hour(NOON / HOUR_US - hour), &Shard::new("other", 2)));
        store.write(&path, bytes::Bytes::from_static(b"x")).await.unwrap();
    }
    publish(&memory, 0..10);
    for cursor in [10, 20] {
        let paused = PausedStore::new(Arc::new(store.clone()), 40);
        let table = start_on(&memory, Arc::new(paused.clone()), POLICY).await;
        eventually("the rows are committed", || {
            memory.cursor("activity", TOPIC) == Some(cursor) || paused.is_stopped()
        })
        .await;
        assert!(!paused.is_stopped());
        table.task.abort();
        publish(&memory, 10..20);
    }
}

#[tokio::test]
async fn whatever_step_the_power_is_cut_at_every_row_is_there_once() {
    for step in 0.. {
        let (memory, disk) = (bus(), PowerCut::new());
        publish(&memory, 0..40);
        disk.fail_after(step);
        let table = start(&memory, &disk, Duration::from_millis(1)).await;
        eventually("it is done, or fails", || {
            memory.cursor("activity", TOPIC) == Some(40)
                || table.health.parts().iter().any(|(_, why)| why.is_some())
                || table.task.is_finished()
        })
        .await;
        let whole =
            memory.cursor("activity", TOPIC) == Some(40) && table.health.parts().iter().all(|(_, why)| why.is_none());
        table.task.abort();
        let disk = disk.after_power_cut(step);
        let table = start(&memory, &disk, Duration::from_millis(1)).await;
        publish(&memory, 40..60);
        eventually("the rest is committed", || memory.cursor("activity", TOPIC) == Some(60)).await;
        table.drained().await.unwrap();
        assert_eq!(numbers(&disk), (0..60).collect::<Vec<_>>(), "step {step}");
        if whole && step > 20 {
            return;
        }
    }
}

/// Ten rows are committed, the cursor was lost, and by now there are more rows than the file has.
async fn lost_cursor() -> (MemoryBus, PowerCut) {
    let (memory, disk) = (bus(), PowerCut::new());
    publish(&memory, 0..10);
    start(&memory, &disk, Duration::from_secs(600)).await.drained().await.unwrap();
    memory.bus().consumer("activity", TOPIC, Start::Earliest).await.unwrap().commit(0).await.unwrap();
    publish(&memory, 10..25);
    (memory, disk)
}

#[tokio::test]
async fn a_journal_that_begins_in_the_midst_of_a_file_doubles_nothing() {
    let (memory, disk) = (bus(), PowerCut::new());
    publish(&memory, 0..10);
    start(&memory, &disk, Duration::from_secs(600)).await.drained().await.unwrap();
    // The cursor was lost, and the journal's oldest rows have gone.
    let trimmed = bus();
    trimmed.skip(TOPIC, 5);
    publish(&trimmed, 5..25);
    start(&trimmed, &disk, Duration::from_secs(600)).await.drained().await.unwrap();
    assert_eq!(trimmed.cursor("activity", TOPIC), Some(25));
    assert_eq!(numbers(&disk), (0..25).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_journal_that_begins_in_the_midst_of_a_strangers_file_keeps_its_rows() {
    let (memory, disk) = (bus(), PowerCut::new());
    publish(&memory, 0..10);
    start(&memory, &disk, Duration::from_secs(600)).await.drained().await.unwrap();
    // On a copy of the data directory other rows got the same numbers, a moment later.
    let copy = bus();
    copy.skip(TOPIC, 5);
    publish(&copy, 5..9);
    copy.set_time(NOON + 1);
    publish(&copy, 9..25);
    let stop = start(&copy, &disk, Duration::from_secs(600)).await.drained().await.unwrap_err();
    assert!(matches!(stop, Stop::Stranger { .. }), "{stop}");
    assert_eq!(copy.cursor("activity", TOPIC), None);
    assert_eq!(numbers(&disk), (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_file_that_was_committed_before_the_cursor_is_found_again() {
    let (memory, disk) = lost_cursor().await;
    start(&memory, &disk, Duration::from_secs(600)).await.drained().await.unwrap();
    assert_eq!(memory.cursor("activity", TOPIC), Some(25));
    assert_eq!(numbers(&disk), (0..25).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_hour_is_closed_only_with_the_rows_that_a_shorter_file_of_an_earlier_run_left() {
    let (memory, disk) = lost_cursor().await;
    memory.set_time(NOON + HOUR_US);
    let table = start(&memory, &disk, Duration::from_secs(600)).await;
    eventually("the hour is closed", || success(&disk, 494_000).is_some()).await;
    let hour = success(&disk, 494_000).unwrap();
    assert_eq!((hour.rows, hour.next, hour.files), (25, 25, vec![(0, 9), (10, 24)]));
    table.drained().await.unwrap();
}

#[tokio::test]
async fn large_rows_are_encoded_before_they_pile_up() {
    let schema = Arc::new(bus().bus().topics()[0].as_ref().clone());
    let mut encoder = crate::encode::Encoder::new(schema.clone(), Encodings::Modern).unwrap();
    for first in 0..8 {
        let rows = [Order { state: 0, buyer_id: format!("{first}{}", "x".repeat(1 << 20)) }];
        let rows = serde_arrow::to_record_batch(schema.columns().fields(), &rows).unwrap();
        encoder.add(&greyhound_sdk::Batch { first, time: NOON, digest: 0, rows }).unwrap();
        assert!(encoder.waiting_bytes() <= 4 << 20, "{} bytes wait", encoder.waiting_bytes());
    }
}

#[tokio::test]
async fn a_strangers_file_stops_the_table_and_keeps_the_rows() {
    let (memory, disk) = (bus(), PowerCut::new());
    publish(&memory, 0..10);
    start(&memory, &disk, Duration::from_secs(600)).await.drained().await.unwrap();
    let copy = bus();
    publish(&copy, 100..110);
    let table = start(&copy, &disk, Duration::from_millis(1)).await;
    let stop = table.task.await.unwrap().unwrap_err();
    assert!(matches!(stop, Stop::Stranger { .. }), "{stop}");
    assert!(stop.to_string().contains("copy of this data directory"));
    assert_eq!(copy.cursor("activity", TOPIC), None);
    assert_eq!(numbers(&disk), (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_old_copy_of_a_journal_gives_no_number_twice_in_whatever_hour_it_is_started() {
    let disk = PowerCut::new();
    let copies = [bus(), bus()];
    copies.iter().for_each(|copy| publish(copy, 0..10));
    start(&copies[0], &disk, Duration::from_secs(600)).await.drained().await.unwrap();
    publish(&copies[0], 10..15);
    start(&copies[0], &disk, Duration::from_secs(600)).await.drained().await.unwrap();
    // The hour of those rows is open, or closed.
    for closed in [false, true] {
        if closed {
            copies[0].set_time(NOON + HOUR_US);
            let table = start(&copies[0], &disk, Duration::from_secs(600)).await;
            eventually("the hour is closed", || success(&disk, NOON / HOUR_US).is_some()).await;
            table.drained().await.unwrap();
        }
        copies[1].set_time(NOON + 2 * HOUR_US);
        // It has fewer rows than the table when it is started, then more.
        for _ in 0..2 {
            let table = start(&copies[1], &disk, Duration::from_millis(1)).await;
            publish(&copies[1], 100..110);
            let stop = timeout(Duration::from_secs(20), table.task).await.expect("it stops").unwrap().unwrap_err();
            assert!(matches!(stop, Stop::Stranger { .. }), "{stop}");
        }
    }
    assert_eq!(numbers(&disk), (0..15).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_full_disk_is_waited_out() {
    let (memory, disk) = (bus(), PowerCut::new());
    disk.set_capacity(Some(100));
    publish(&memory, 0..10);
    let table = start(&memory, &disk, Duration::from_millis(1)).await;
    eventually("it says so", || table.health.parts().iter().any(|(_, why)| why.is_some())).await;
    publish(&memory, 10..20);
    disk.set_capacity(None);
    eventually("all is committed", || memory.cursor("activity", TOPIC) == Some(20)).await;
    eventually("it says so", || table.health.parts().iter().all(|(_, why)| why.is_none())).await;
    table.drained().await.unwrap();
    assert_eq!(numbers(&disk), (0..20).collect::<Vec<_>>());
}

#[derive(Debug, PartialEq, serde::Deserialize)]
struct Recorded {
    topic: String,
    file_path: String,
    row_count: i64,
    size_bytes: i64,
    first_seq: i64,
    last_seq: i64,
    hour_time: i64,
    attempts: i32,
    recovered: bool,
}

#[tokio::test]
async fn every_file_is_recorded_also_one_that_an_earlier_run_committed() {
    let (memory, disk) = lost_cursor().await;
    start(&memory, &disk, Duration::from_secs(600)).await.drained().await.unwrap();
    let directory = directory(TOPIC, Hour(NOON / HOUR_US), &Shard::new("test", 1));
    let size =
        |first: u64| disk.content(Path::new(&format!("/tables/{directory}/{first:020}.parquet"))).unwrap().len() as i64;
    let row = |(first, last): (i64, i64), recovered: bool| Recorded {
        topic: TOPIC.into(),
        file_path: format!("{directory}/{first:020}.parquet"),
        row_count: last - first + 1,
        size_bytes: size(first as u64),
        first_seq: first,
        last_seq: last,
        hour_time: NOON,
        attempts: 1,
        recovered,
    };
    assert_eq!(memory.rows::<Recorded>(SINK_TOPIC), [row((0, 9), false), row((0, 9), true), row((10, 24), false)]);
}

#[tokio::test]
async fn the_age_is_that_of_the_oldest_row_that_is_not_committed_whatever_the_table_is_at() {
    let (memory, disk) = (bus(), PowerCut::new());
    let mut oldest = Oldest::new(&memory.bus(), TOPIC);
    assert_eq!(oldest.time().await.unwrap(), None);
    publish(&memory, 0..10);
    memory.set_time(NOON + 1);
    publish(&memory, 10..20);
    assert_eq!(oldest.time().await.unwrap(), Some(NOON), "nobody has read it yet");
    disk.set_capacity(Some(100));
    let table = start(&memory, &disk, Duration::from_millis(1)).await;
    eventually("the store refuses", || table.health.parts().iter().any(|(_, why)| why.is_some())).await;
    memory.set_time(NOON + 2);
    publish(&memory, 20..30);
    assert_eq!(oldest.time().await.unwrap(), Some(NOON), "it is tried again and again");
    memory.bus().consumer("activity", TOPIC, Start::Earliest).await.unwrap().commit(10).await.unwrap();
    assert_eq!(oldest.time().await.unwrap(), Some(NOON + 1), "the first file is committed");
    disk.set_capacity(None);
    eventually("all is committed", || memory.cursor("activity", TOPIC) == Some(30)).await;
    table.drained().await.unwrap();
    assert_eq!(oldest.time().await.unwrap(), None);
}
