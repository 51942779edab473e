//! Compaction under thousands of schedules of faults (see `faults.rs`): the same rows, whoever fails, dies, or sleeps
//! when.

use super::faults::{POLICY, each_seed, journal, tables};
use super::faulty_store::{Dice, FaultyStore};
use super::paused_store::PausedStore;
use super::value_digests::verified;
use super::{NOON, Order, TOPIC, bus, eventually, publish, start_on, start_with};
use crate::committer::{Committer, Outcome};
use crate::compact::swap::{Settled, Swaps};
use crate::compact::{Compaction, Compactor};
use crate::encode::{Encoded, Encoder, Encodings, Footer};
use crate::find::Found;
use crate::hours::Hours;
use crate::layout::{HOUR_US, Hour, directory};
use crate::repair::repair;
use crate::roll_policy::Span;
use crate::store::Store;
use crate::success::Success;
use crate::table::Stop;
use bytes::Bytes;
use greyhound_sdk::testing::memory::MemoryBus;
use greyhound_sdk::{Shard, Start, TopicSchema};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const HOUR: Hour = Hour(NOON / HOUR_US);
const SIZE: u64 = 1 << 20;

pub(super) type Files = BTreeMap<String, Bytes>;

fn shard() -> Shard {
    Shard::new("test", 1)
}

pub(super) fn place(hour: Hour) -> String {
    directory(TOPIC, hour, &shard())
}

/// A closed hour of `files` files, in a store that does as it is told.
pub(super) async fn closed_hour(dice: &mut Dice, files: u64) -> (MemoryBus, FaultyStore) {
    let (memory, store) = (bus(), FaultyStore::new(Dice::new(dice.below(u64::MAX))).returning());
    let mut next = 0;
    for _ in 0..files {
        let rows = 1 + dice.below(9);
        publish(&memory, next..next + rows);
        next += rows;
        start_on(&memory, Arc::new(store.clone()), POLICY).await.drained().await.unwrap();
        if dice.below(3) == 0 {
            memory.skip(TOPIC, 1 + dice.below(3));
        }
    }
    memory.set_time(NOON + HOUR_US);
    publish(&memory, next..next + 1);
    start_on(&memory, Arc::new(store.clone()), POLICY).await.drained().await.unwrap();
    (memory, store)
}

fn compaction(store: &dyn Fn() -> Arc<dyn Store>) -> (Compactor, Compaction) {
    let compactor = Compactor::new(store(), SIZE, None).impatient();
    let mut compaction = compactor.of(TOPIC, &shard());
    compaction.closed([HOUR]);
    (compactor, compaction)
}

/// Lets a process compact until it is done or killed, or gives up after a while. Returns the oldest hour that it leaves.
pub(super) async fn life(store: &FaultyStore) -> Option<Hour> {
    let (compactor, mut compaction) = compaction(&|| Arc::new(store.clone()));
    run(store, &compactor, &mut compaction).await;
    let oldest = compaction.oldest();
    drop(compaction);
    compactor.idle().await;
    oldest
}

async fn run(store: &FaultyStore, compactor: &Compactor, compaction: &mut Compaction) {
    // A rename that came late may have taken the hour away.
    let _ = compaction.recover().await;
    for _ in 0..200 {
        if store.killed() || compaction.is_done() {
            break;
        }
        compaction.turn(Hour(HOUR.0 + 1)).await;
        compactor.idle().await;
    }
}

/// Closes the hour after [`HOUR`] while `uncompacted` is left. Returns the hours that the next process compacts.
pub(super) async fn close_next_hour(store: &FaultyStore, uncompacted: Option<Hour>) -> Vec<Hour> {
    let mut hours = Hours::new(Arc::new(store.clone()), TOPIC, shard());
    hours.resume(1).await.unwrap();
    let closing = hours.oldest_open(Hour(HOUR.0 + 2)).await.unwrap().unwrap();
    assert_eq!(closing.hour, Hour(HOUR.0 + 1));
    hours.close(&closing, uncompacted).await.unwrap();
    hours.resume(1).await.unwrap()
}

pub(super) fn files_of(files: &Files, directory: &str) -> Files {
    files
        .iter()
        .filter(|(path, _)| path.starts_with(&format!("{directory}/")))
        .map(|(path, bytes)| (path.clone(), bytes.clone()))
        .collect()
}

fn is_complete(files: &Files) -> bool {
    let success = files.iter().find(|(path, _)| path.ends_with("/_SUCCESS"));
    let Some(success) = success.and_then(|(_, text)| serde_json::from_slice::<Success>(text).ok()) else {
        return false;
    };
    success.names().all(|name| files.keys().any(|path| path.ends_with(&name)))
}

/// Nothing is in the table twice; and the hour is whole, there or in staging.
fn check_midway(files: &Files, memory: &MemoryBus) {
    let mut rows = tables(&in_table(files));
    rows.sort();
    let all = journal(memory);
    assert!(rows.windows(2).all(|pair| pair[0].0 < pair[1].0), "a row is there twice: {:?}", files.keys());
    let has_hour = is_complete(&files_of(files, &place(HOUR)));
    if has_hour {
        assert_eq!(rows, all);
    }
    let spares: std::collections::BTreeSet<_> = files
        .keys()
        .filter(|path| path.starts_with("_staging/"))
        .filter_map(|path| Some(path.rsplit_once('/')?.0))
        .collect();
    assert!(
        has_hour || spares.iter().any(|spare| is_complete(&files_of(files, spare))),
        "the hour is nowhere: {:?}",
        files.keys()
    );
}

fn in_table(files: &Files) -> Files {
    files
        .iter()
        .filter(|(path, _)| path.starts_with(TOPIC))
        .map(|(path, bytes)| (path.clone(), bytes.clone()))
        .collect()
}

/// After everybody is done: what is left is put in order, and the table has each row once.
async fn check_end(store: &FaultyStore, memory: &MemoryBus) -> Files {
    store.settle();
    store.trouble(0, None);
    repair(Arc::new(store.clone()), Duration::ZERO, |_| {}).await.unwrap();
    let files = store.files();
    assert!(is_complete(&files_of(&files, &place(HOUR))), "{:?}", files.keys());
    let mut rows = tables(&files);
    rows.sort();
    assert_eq!(rows, journal(memory));
    assert_eq!(files.keys().filter(|path| path.starts_with("_staging")).count(), 0, "{:?}", files.keys());
    files
}

#[test]
fn whatever_fails_while_it_is_compacted_an_hour_has_the_same_rows() {
    each_seed(|seed| async move {
        let mut dice = Dice::new(seed);
        let count = 2 + dice.below(4);
        let (memory, store) = closed_hour(&mut dice, count).await;
        for _ in 0..1 + dice.below(4) {
            let kill_in = (dice.below(2) == 0).then(|| 1 + dice.below(60));
            store.trouble([0, 3, 10, 25][dice.below(4) as usize], kill_in);
            life(&store).await;
            check_midway(&store.files(), &memory);
            if dice.below(3) == 0 {
                store.trouble([0, 10][dice.below(2) as usize], None);
                let _ = repair(Arc::new(store.clone()), Duration::ZERO, |_| {}).await;
                check_midway(&store.files(), &memory);
            }
        }
        store.settle();
        store.trouble(0, None);
        life(&store).await;
        let files = check_end(&store, &memory).await;
        assert_eq!(files_of(&files, &place(HOUR)).len(), 2, "one file and _SUCCESS: {:?}", files.keys());
    });
}

/// A replacement of the hour's directory, complete, in staging.
async fn replacement(store: &FaultyStore, swaps: &mut Swaps) -> String {
    // As compaction leaves it when it is killed before the swap.
    let target = swaps.replacement(HOUR);
    for (path, bytes) in files_of(&store.files(), &place(HOUR)) {
        store.write(&path.replace(&place(HOUR), &target), bytes).await.unwrap();
    }
    target
}

#[test]
fn a_compactor_that_was_stopped_at_any_step_while_others_worked_leaves_the_table_right() {
    each_seed(|seed| async move {
        let mut dice = Dice::new(seed);
        let (memory, store) = closed_hour(&mut dice, 2).await;
        let paused = PausedStore::new(Arc::new(store.clone()), dice.below(18));
        let mut sleeper = Swaps::new(Arc::new(paused.clone()), TOPIC, shard());
        let target = replacement(&store, &mut sleeper).await;
        store.trouble([0, 0, 15][dice.below(3) as usize], None);
        let swap = tokio::spawn(async move {
            let done = sleeper.swap(HOUR, &target).await;
            if done.is_err() {
                let _ = sleeper.settle(Duration::ZERO).await;
            }
        });
        while !paused.is_stopped() && !swap.is_finished() {
            tokio::task::yield_now().await;
        }
        check_midway(&store.files(), &memory);
        for _ in 0..dice.below(3) {
            match dice.below(2) {
                0 => drop(repair(Arc::new(store.clone()), Duration::ZERO, |_| {}).await),
                _ => drop(life(&store).await),
            }
            check_midway(&store.files(), &memory);
        }
        paused.go_on();
        swap.await.unwrap();
        check_midway(&store.files(), &memory);
        check_end(&store, &memory).await;
    });
}

fn encoded(memory: &MemoryBus, first: u64) -> (Encoded, Hour) {
    let batches: Vec<_> =
        memory.batches(TOPIC).into_iter().filter(|b| b.first >= first && Hour::of(b.time) == HOUR).collect();
    let mut encoder = Encoder::new(memory.bus().topics()[0].clone(), Encodings::Modern).unwrap();
    let mut span = Span::of(&batches[0], 0, tokio::time::Instant::now());
    for batch in &batches {
        if batch.first != first && batch.first != span.end {
            break;
        }
        encoder.add(batch).unwrap();
        span.end = batch.end();
    }
    (encoder.finish(&span, &shard()).unwrap(), span.hour)
}

/// Publishes rows in an hour, and waits until a running table has committed them.
async fn commit(memory: &MemoryBus, time: i64, rows: std::ops::Range<u64>) {
    memory.set_time(time);
    publish(memory, rows.clone());
    while memory.cursor("activity", TOPIC) != Some(rows.end) {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_writer_that_was_stopped_at_any_step_while_the_hour_was_compacted_brings_nothing_back() {
    each_seed(|seed| async move {
        let mut dice = Dice::new(seed);
        let store = FaultyStore::new(Dice::new(!seed)).returning();
        let memory = MemoryBus::new(vec![bus().bus().topics()[0].as_ref().clone(), crate::record::schema().unwrap()]);
        let live = start_on(&memory, Arc::new(store.clone()), POLICY).await;
        commit(&memory, NOON - HOUR_US, 0..2).await;
        commit(&memory, NOON, 2..5).await;
        commit(&memory, NOON, 5..9).await;
        // On a copy of the data directory, as it was before the last commit.
        let (file, hour) = encoded(&memory, 5);
        let paused = PausedStore::new(Arc::new(store.clone()), dice.below(12));
        let mut late = Committer::new(Arc::new(paused.clone()), TOPIC, shard());
        let writer = tokio::spawn(async move {
            for _ in 0..50 {
                match late.attempt(&file, hour).await {
                    Ok(Outcome::Exists(Found::Nothing, _)) | Err(_) => {}
                    Ok(outcome) => return Some(outcome),
                }
            }
            None
        });
        let stops = async || {
            while !paused.is_stopped() && !writer.is_finished() {
                tokio::task::yield_now().await;
            }
        };
        stops().await;
        commit(&memory, NOON + HOUR_US, 9..10).await;
        live.drained().await.unwrap();

        let stopped = PausedStore::new(Arc::new(store.clone()), dice.below(14));
        let mut swaps = Swaps::new(Arc::new(stopped.clone()), TOPIC, shard());
        let target = compacted(&store, &mut swaps).await;
        store.trouble([0, 0, 10][dice.below(3) as usize], None);
        let swap = tokio::spawn(async move { swaps.swap(HOUR, &target).await });
        while !stopped.is_stopped() && !swap.is_finished() {
            tokio::task::yield_now().await;
        }
        paused.go_on_for(dice.below(5));
        stops().await;
        stopped.go_on();
        let _ = swap.await.unwrap();
        paused.go_on();
        let outcome = writer.await.unwrap();
        check_midway(&store.files(), &memory);
        check_end(&store, &memory).await;
        if let Some(Outcome::Exists(found, _)) = outcome {
            assert!(matches!(&found, Found::File(Footer { first: 5, last: 8, .. })), "it finds its rows: {found:?}");
        }
    });
}

/// A replacement of the hour's directory, compacted, in staging.
async fn compacted(store: &FaultyStore, swaps: &mut Swaps) -> String {
    let copy = FaultyStore::new(Dice::new(0)).returning();
    for (path, bytes) in in_table(&store.files()) {
        copy.write(&path, bytes).await.unwrap();
    }
    life(&copy).await;
    let target = swaps.replacement(HOUR);
    for (path, bytes) in files_of(&copy.files(), &place(HOUR)) {
        store.write(&path.replace(&place(HOUR), &target), bytes).await.unwrap();
    }
    target
}

#[tokio::test]
async fn a_cursor_that_was_lost_goes_on_behind_the_rows_of_compacted_hours() {
    let (memory, store) = closed_hour(&mut Dice::new(1), 4).await;
    life(&store).await;
    let files = store.files();
    assert_eq!(files_of(&files, &place(HOUR)).len(), 2);
    memory.bus().consumer("activity", TOPIC, Start::Earliest).await.unwrap().commit(0).await.unwrap();
    start_on(&memory, Arc::new(store.clone()), POLICY).await.drained().await.unwrap();
    assert_eq!(memory.cursor("activity", TOPIC), Some(memory.batches(TOPIC).last().unwrap().end()));
    assert_eq!(store.files(), files, "nothing was written");
}

#[tokio::test]
async fn a_journal_that_begins_in_the_midst_of_a_part_of_a_compacted_file_goes_on_behind_it() {
    let (memory, store) = closed_hour(&mut Dice::new(1), 4).await;
    life(&store).await;
    let files = store.files();
    let (_, compacted) = files_of(&files, &place(HOUR)).pop_first().unwrap();
    let parts = Footer::from_metadata(&metadata(&compacted)).unwrap().parts;
    let first = parts.iter().find(|part| part.0 < part.1).unwrap().0 + 1;
    // The cursor was lost, and the journal's oldest rows have gone.
    let trimmed = bus();
    for batch in memory.batches(TOPIC).into_iter().filter(|batch| batch.first >= first) {
        let end = trimmed.batches(TOPIC).last().map_or(0, |batch| batch.end());
        trimmed.skip(TOPIC, batch.first - end);
        trimmed.set_time(batch.time);
        trimmed.bus().publisher(TOPIC).unwrap().offer_batch(batch.rows).unwrap();
    }
    start_on(&trimmed, Arc::new(store.clone()), POLICY).await.drained().await.unwrap();
    assert_eq!(trimmed.cursor("activity", TOPIC), Some(memory.batches(TOPIC).last().unwrap().end()));
    assert_eq!(store.files(), files, "nothing was written");
}

#[tokio::test]
async fn a_strangers_rows_of_a_compacted_hour_stop_the_table() {
    let (_, store) = closed_hour(&mut Dice::new(1), 4).await;
    life(&store).await;
    let copy = bus();
    publish(&copy, 100..103);
    let stop = start_on(&copy, Arc::new(store.clone()), POLICY).await.drained().await.unwrap_err();
    assert!(matches!(stop, Stop::Stranger { .. }), "{stop}");
    assert_eq!(copy.cursor("activity", TOPIC), None);
}

fn metadata(content: &Bytes) -> ParquetMetaData {
    let mut reader =
        ParquetMetaDataReader::new().with_page_index_policy(parquet::file::metadata::PageIndexPolicy::Required);
    reader.try_parse(content).unwrap();
    reader.finish().unwrap()
}

#[tokio::test]
async fn compacted_files_are_sorted_by_user_and_tell_of_their_parts() {
    let store = FaultyStore::new(Dice::new(0));
    let memory = bus();
    // More rows than a row group has; buyers come again and again.
    let publisher = memory.bus().publisher(TOPIC).unwrap();
    for part in 0..3i64 {
        let buyer = |n: i64| Order { state: (n % 2) as i8, buyer_id: format!("buyer {:05}", n * 7919 % 1000) };
        let rows: Vec<Order> = (0..60_000).map(|n| buyer(part * 60_000 + n)).collect();
        publisher
            .offer_batch(serde_arrow::to_record_batch(memory.bus().topics()[0].columns().fields(), &rows).unwrap())
            .unwrap();
        start_on(&memory, Arc::new(store.clone()), POLICY).await.drained().await.unwrap();
    }
    memory.set_time(NOON + HOUR_US);
    publish(&memory, 0..1);
    start_on(&memory, Arc::new(store.clone()), POLICY).await.drained().await.unwrap();
    let before = store.files();
    let plain = metadata(&before[&format!("{}/{:020}.parquet", place(HOUR), 0)]);
    life(&store).await;
    let after = store.files();
    let file = &after[&format!("{}/{:020}.parquet", place(HOUR), 0)];
    let compacted = metadata(file);

    let footer = Footer::from_metadata(&compacted).unwrap();
    assert_eq!((footer.first, footer.last, footer.rows), (0, 179_999, 180_000));
    let parts: Vec<_> = footer.parts.iter().map(|part| (part.0, part.1)).collect();
    assert_eq!(parts, [(0, 59_999), (60_000, 119_999), (120_000, 179_999)]);
    assert_eq!(footer.parts[0].2, Footer::from_metadata(&plain).unwrap().digest);
    let pairs = compacted.file_metadata().key_value_metadata().unwrap();
    for key in ["shard", "first", "last", "digest", "schema", "version", "parts"] {
        assert!(pairs.iter().any(|pair| pair.key == format!("greyhound.{key}")), "{key}");
    }
    assert_eq!(compacted.file_metadata().schema_descr(), plain.file_metadata().schema_descr());

    // One user is in one row group, by its statistics; the pages have statistics as well, and the user a bloom filter.
    let column = |group: usize| {
        compacted.row_group(group).columns().iter().find(|c| c.column_path().string() == "buyer_id").unwrap().clone()
    };
    let ranges: Vec<_> = (0..compacted.num_row_groups())
        .map(|group| {
            let column = column(group);
            assert!(
                column.bloom_filter_offset().is_some()
                    && column.column_index_offset().is_some()
                    && column.offset_index_offset().is_some()
            );
            let statistics = column.statistics().unwrap().clone();
            [statistics.min_bytes_opt().unwrap().to_vec(), statistics.max_bytes_opt().unwrap().to_vec()]
        })
        .collect();
    assert_eq!(ranges.len(), 2);
    assert!(ranges[0][1] <= ranges[1][0], "the ranges of users meet at most at an end: {ranges:?}");
    let rows = super::read(file.to_vec());
    assert!(rows.windows(2).all(|pair| (&pair[0].1, pair[0].0) < (&pair[1].1, pair[1].0)));
    let sorted = |files: &Files| {
        let mut rows = tables(files);
        rows.sort();
        rows
    };
    assert_eq!(sorted(&before), sorted(&after));
}

#[tokio::test]
async fn a_compacted_file_never_mixes_schemas() {
    let store = FaultyStore::new(Dice::new(0));
    let memory = bus();
    for buyers in [0..3, 3..6] {
        publish(&memory, buyers);
        start_on(&memory, Arc::new(store.clone()), POLICY).await.drained().await.unwrap();
    }
    // The next version adds a column, within the hour.
    let avro = memory.bus().topics()[0].avro().replace(
        r#""type": "string"}]"#,
        r#""type": "string"}, {"name": "note", "type": ["null", "string"], "default": null}]"#,
    );
    let upgraded = MemoryBus::new(vec![TopicSchema::from_avro(&avro).unwrap(), crate::record::schema().unwrap()]);
    upgraded.set_time(NOON);
    upgraded.skip(TOPIC, 6);
    #[derive(serde::Serialize)]
    struct Noted {
        state: i8,
        buyer_id: &'static str,
        note: Option<&'static str>,
    }
    let publisher = upgraded.bus().publisher(TOPIC).unwrap();
    for _ in 0..2 {
        publisher.offer(&Noted { state: 0, buyer_id: "7", note: Some("new") }).unwrap();
        start_on(&upgraded, Arc::new(store.clone()), POLICY).await.drained().await.unwrap();
    }
    upgraded.set_time(NOON + HOUR_US);
    publisher.offer(&Noted { state: 0, buyer_id: "8", note: None }).unwrap();
    start_on(&upgraded, Arc::new(store.clone()), POLICY).await.drained().await.unwrap();
    assert_eq!(files_of(&store.files(), &place(HOUR)).len(), 6, "four files, _SUCCESS and _FIRST_HOUR");
    let is_sound = async || verified(&store).await.iter().all(|it| it.findings.is_empty() && it.unchecked == 0);
    assert!(is_sound().await);
    life(&store).await;
    assert!(is_sound().await);
    let files = files_of(&store.files(), &place(HOUR));
    let shapes = files.iter().filter(|(path, _)| path.ends_with(".parquet")).map(|(_, bytes)| {
        let metadata = metadata(bytes);
        (metadata.file_metadata().schema_descr().num_columns(), Footer::from_metadata(&metadata).unwrap().rows)
    });
    assert_eq!(shapes.collect::<Vec<_>>(), [(4, 6), (5, 2)]);
}

#[tokio::test]
async fn the_table_compacts_its_hours_and_removes_old_days_by_itself() {
    let memory = bus();
    let directory = tempfile::tempdir().unwrap();
    let store =
        Arc::new(crate::store::local::LocalStore::new(Arc::new(greyhound_sdk::fs::OsFileSystem), directory.path()));
    let compactor = Compactor::new(store.clone(), SIZE, Some(Duration::from_secs(86_400)));
    for rows in [0..3, 3..5] {
        publish(&memory, rows);
        start_on(&memory, store.clone(), POLICY).await.drained().await.unwrap();
    }
    let hour = directory.path().join(place(HOUR));
    let parquet = || {
        std::fs::read_dir(&hour).map_or(0, |all| {
            all.filter(|f| f.as_ref().unwrap().path().extension().is_some_and(|e| e == "parquet")).count()
        })
    };
    assert_eq!(parquet(), 2);
    memory.set_time(NOON + HOUR_US);
    publish(&memory, 5..6);
    let table = start_with(&memory, store.clone(), POLICY, compactor.clone()).await;
    eventually("the hour has one file", || parquet() == 1 && hour.join("_SUCCESS").exists()).await;
    // A node that is no more had rows that day as well.
    let gone = directory.path().join(place(HOUR).replace("test-00000001", "gone-00000002"));
    std::fs::create_dir_all(&gone).unwrap();
    std::fs::write(gone.join("x.parquet"), "x").unwrap();
    table.drained().await.unwrap();
    memory.set_time(NOON + 48 * HOUR_US);
    let table = start_with(&memory, store, POLICY, compactor).await;
    let day = hour.parent().and_then(|hour| hour.parent()).unwrap();
    eventually("the day is removed", || !day.exists()).await;
    assert!(day.parent().unwrap().exists());
    table.drained().await.unwrap();
}

/// Tables in a directory: an hour of two files that is closed, and one that is open.
async fn two_files() -> (tempfile::TempDir, Arc<dyn Store>) {
    let directory = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> =
        Arc::new(crate::store::local::LocalStore::new(Arc::new(greyhound_sdk::fs::OsFileSystem), directory.path()));
    let memory = bus();
    for rows in [0..3, 3..5] {
        publish(&memory, rows);
        start_on(&memory, store.clone(), POLICY).await.drained().await.unwrap();
    }
    memory.set_time(NOON + HOUR_US);
    publish(&memory, 5..6);
    start_on(&memory, store.clone(), POLICY).await.drained().await.unwrap();
    (directory, store)
}

fn seconds_ago(seconds: u64) -> u64 {
    crate::store::staging::now() - seconds
}

#[tokio::test]
async fn what_is_in_the_way_of_a_repair_is_named_and_the_rest_is_done() {
    let (directory, store) = two_files().await;
    let staging = directory.path().join(format!("_staging/{}", shard()));
    let table = staging.join(TOPIC);
    let began = seconds_ago(7200);
    // In the place of a shard, of a table, and of an hour before the one that must be put back.
    std::fs::write(directory.path().join("_staging/gone-00000002"), "a file").unwrap();
    std::fs::write(staging.join("a.topic"), "a file").unwrap();
    std::fs::create_dir_all(&table).unwrap();
    std::fs::rename(directory.path().join(place(HOUR)), table.join(format!("{began}-x-1.{}.old", HOUR.0))).unwrap();
    std::fs::create_dir_all(directory.path().join(place(Hour(HOUR.0 - 1)))).unwrap();
    let success =
        serde_json::json!({"topic": TOPIC, "shard": shard().as_str(), "rows": 0, "next": 0, "files": [], "gaps": []});
    std::fs::write(directory.path().join(place(Hour(HOUR.0 - 1))).join("_SUCCESS"), success.to_string()).unwrap();
    let obstacle = table.join(format!("{began}-x-2.{}.new", HOUR.0 - 1));
    std::fs::write(&obstacle, "a file").unwrap();
    std::fs::write(table.join(format!("{began}-x-3.tmp")), "left behind").unwrap();
    let mut told = Vec::new();
    repair(store.clone(), Duration::from_secs(3600), |settled| told.push(settled)).await.unwrap();
    let obstacles: Vec<_> =
        told.iter().filter_map(|it| if let Settled::Obstructed(why) = it { Some(why) } else { None }).collect();
    for path in ["_staging/gone-00000002".into(), format!("{}/a.topic", shard()), obstacle.display().to_string()] {
        assert!(
            obstacles.iter().any(|why| why.contains(&path) && why.ends_with("in the place of Greyhound's files")),
            "{path}: {told:?}"
        );
    }
    assert_eq!(obstacles.len(), 3, "{told:?}");
    assert!(told.contains(&Settled::Restored(place(HOUR))), "{told:?}");
    assert!(directory.path().join(place(HOUR)).join("_SUCCESS").exists());
    assert_eq!(std::fs::read_dir(&table).unwrap().count(), 1, "only the obstacle is left");
}

#[tokio::test]
async fn a_try_of_the_store_that_was_killed_is_cleared_away() {
    let (directory, store) = two_files().await;
    let path =
        |seconds: u64| directory.path().join(format!("_staging/check-{}-0123456789abcdef", seconds_ago(seconds)));
    let (old, young) = (path(7200), path(60));
    for path in [&old, &young] {
        std::fs::create_dir_all(path).unwrap();
        std::fs::write(path.join("one"), "one").unwrap();
    }
    repair(store, Duration::from_secs(3600), |_| {}).await.unwrap();
    assert!(!old.exists() && young.exists());
}

#[tokio::test]
async fn an_hour_that_something_is_in_the_way_of_does_not_hold_up_the_others() {
    let (directory, store) = two_files().await;
    let (later, aside) = (directory.path().join(place(Hour(HOUR.0 + 1))), directory.path().join("aside"));
    // The newest hour is looked at first, and staging before everything else.
    std::fs::rename(&later, &aside).unwrap();
    std::fs::write(&later, "a file").unwrap();
    let staging = directory.path().join(format!("_staging/{}/{TOPIC}", shard()));
    std::fs::create_dir_all(&staging).unwrap();
    std::fs::write(staging.join(format!("1-x-1.{}.new", HOUR.0)), "a file").unwrap();
    let (compactor, mut compaction) = compaction(&|| store.clone());
    compaction.recover().await.unwrap();
    compaction.closed([HOUR, Hour(HOUR.0 + 1)]);
    let files = || std::fs::read_dir(directory.path().join(place(HOUR))).unwrap().count();
    for _ in 0..100 {
        compaction.turn(Hour(HOUR.0 + 2)).await;
        compactor.idle().await;
    }
    assert_eq!(files(), 2, "one file and _SUCCESS");
    assert!(!compaction.is_done(), "it is looked at again");
    std::fs::remove_file(&later).unwrap();
    for _ in 0..100 {
        compaction.turn(Hour(HOUR.0 + 2)).await;
    }
    assert!(compaction.is_done());
}

#[tokio::test]
async fn a_file_in_the_place_of_an_old_day_does_not_keep_a_table_from_starting() {
    let (directory, store) = two_files().await;
    std::fs::write(directory.path().join(TOPIC).join("dt=2036-01-01"), "a file").unwrap();
    let mut hours = crate::hours::Hours::new(store, TOPIC, shard());
    hours.resume(1).await.unwrap();
    assert_eq!(hours.oldest_open(Hour(HOUR.0 + 2)).await.unwrap().unwrap().hour, Hour(HOUR.0 + 1));
}

#[tokio::test]
async fn what_an_earlier_run_closed_and_did_not_compact_is_compacted_however_long_ago() {
    let (memory, store) = closed_hour(&mut Dice::new(1), 2).await;
    // A run that closes the hours of two days of downtime, and is killed before it comes to this one.
    memory.set_time(NOON + 48 * HOUR_US);
    let table = start_on(&memory, Arc::new(store.clone()), POLICY).await;
    let has = |hour: i64| store.files().contains_key(&format!("{}/_SUCCESS", place(Hour(HOUR.0 + hour))));
    eventually("the hours of the downtime are closed", || has(47)).await;
    table.task.abort();
    let compactor = Compactor::new(Arc::new(store.clone()), SIZE, None);
    let table = start_with(&memory, Arc::new(store.clone()), POLICY, compactor).await;
    eventually("the hour has one file", || files_of(&store.files(), &place(HOUR)).len() == 2).await;
    table.drained().await.unwrap();
}

#[tokio::test]
async fn nothing_is_written_once_it_is_idle() {
    let (_, store) = closed_hour(&mut Dice::new(1), 2).await;
    let paused = PausedStore::new(Arc::new(store.clone()), 4);
    let (compactor, mut compaction) = compaction(&|| Arc::new(paused.clone()));
    compaction.turn(HOUR).await;
    while !paused.is_stopped() {
        tokio::time::sleep(Duration::from_micros(100)).await;
    }
    let files = || store.files().into_iter().filter(|(path, _)| !path.ends_with(".try")).collect::<Files>();
    let before = files();
    drop(compaction);
    let stopped = tokio::spawn(async move { compactor.idle().await });
    tokio::task::yield_now().await;
    assert!(!stopped.is_finished());
    paused.go_on();
    stopped.await.unwrap();
    assert_eq!(files(), before, "only the mark of the attempt has changed");
}

#[tokio::test]
async fn an_empty_directory_in_the_place_of_an_hour_is_set_apart() {
    let directory = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> =
        Arc::new(crate::store::local::LocalStore::new(Arc::new(greyhound_sdk::fs::OsFileSystem), directory.path()));
    let memory = bus();
    publish(&memory, 0..3);
    start_on(&memory, store.clone(), POLICY).await.drained().await.unwrap();
    memory.set_time(NOON + HOUR_US);
    publish(&memory, 3..4);
    start_on(&memory, store.clone(), POLICY).await.drained().await.unwrap();
    let mut swaps = Swaps::new(store.clone(), TOPIC, shard());
    let target = swaps.replacement(HOUR);
    store.publish(&place(HOUR), &target).await.unwrap();
    std::fs::create_dir(directory.path().join(place(HOUR))).unwrap();
    let done = swaps.settle(Duration::ZERO).await.unwrap();
    assert_eq!(done[0], Settled::Restored(place(HOUR)));
    assert!(store.exists(&format!("{}/_SUCCESS", place(HOUR))).await.unwrap());
    assert_eq!(swaps.settle(Duration::ZERO).await.unwrap().len(), 1, "the empty one is removed");
    assert_eq!(swaps.settle(Duration::ZERO).await.unwrap(), []);
}

#[tokio::test]
async fn an_hour_that_a_process_died_in_is_not_tried_at_once_again() {
    let (_, store) = closed_hour(&mut Dice::new(1), 2).await;
    let marks = || store.files().into_keys().filter(|path| path.ends_with(".try")).count();
    // Dies at its first write after the mark.
    let paused = PausedStore::new(Arc::new(store.clone()), 5);
    let compactor = Compactor::new(Arc::new(paused.clone()), SIZE, None);
    let mut dying = compactor.of(TOPIC, &shard());
    dying.closed([HOUR]);
    dying.turn(Hour(HOUR.0 + 1)).await;
    eventually("it is stopped for ever", || paused.is_stopped()).await;
    assert_eq!(marks(), 1);

    let (patient, hour) = (Compactor::new(Arc::new(store.clone()), SIZE, None), |compactor: &Compactor| {
        let mut compaction = compactor.of(TOPIC, &shard());
        compaction.closed([HOUR]);
        compaction
    });
    let mut compaction = hour(&patient);
    compaction.recover().await.unwrap();
    for _ in 0..10 {
        compaction.turn(Hour(HOUR.0 + 1)).await;
        patient.idle().await;
    }
    assert!(!compaction.is_done() && marks() == 1, "it waits");
    assert_eq!(compaction.oldest(), Some(HOUR), "and is not forgotten");
    life(&store).await;
    assert_eq!((files_of(&store.files(), &place(HOUR)).len(), marks()), (2, 0), "compacted, and unmarked");
}

#[tokio::test]
async fn a_refused_hour_is_tried_again_later_and_at_once_when_it_is_closed_again() {
    let (_, store) = closed_hour(&mut Dice::new(1), 2).await;
    let (path, sound) = store.files().into_iter().find(|(path, _)| path.ends_with(".parquet")).unwrap();
    let damage = async || store.write(&path, Bytes::from_static(b"damaged")).await.unwrap();
    let mend = async || store.write(&path, sound.clone()).await.unwrap();
    let compacted = || files_of(&store.files(), &place(HOUR)).len() == 2;

    damage().await;
    let patient = Compactor::new(Arc::new(store.clone()), SIZE, None);
    let mut compaction = patient.of(TOPIC, &shard());
    compaction.closed([HOUR]);
    run(&store, &patient, &mut compaction).await;
    assert_eq!(compaction.oldest(), Some(HOUR));
    mend().await;
    run(&store, &patient, &mut compaction).await;
    assert!(!compacted() && compaction.oldest() == Some(HOUR), "it waits, and is not forgotten");
    compaction.closed([HOUR]);
    run(&store, &patient, &mut compaction).await;
    assert!(compacted() && compaction.is_done());
}

#[tokio::test]
async fn a_refused_hour_is_compacted_once_its_file_is_restored() {
    let (_, store) = closed_hour(&mut Dice::new(1), 2).await;
    let (path, sound) = store.files().into_iter().find(|(path, _)| path.ends_with(".parquet")).unwrap();
    store.write(&path, Bytes::from_static(b"damaged")).await.unwrap();
    let (impatient, mut compaction) = compaction(&|| Arc::new(store.clone()));
    run(&store, &impatient, &mut compaction).await;
    store.write(&path, sound).await.unwrap();
    run(&store, &impatient, &mut compaction).await;
    assert!(files_of(&store.files(), &place(HOUR)).len() == 2 && compaction.is_done());
}
