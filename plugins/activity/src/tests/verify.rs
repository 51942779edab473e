//! Whatever is wrong with tables is found and named; what is right is not.

use super::faults::POLICY;
use super::{NOON, bus, publish, start_on};
use crate::commit::{directory, file_name};
use crate::compact::Compactor;
use crate::compact::swap::Swaps;
use crate::roll::{HOUR_US, Hour};
use crate::store::Store;
use crate::store::local::LocalStore;
use crate::verify::{Day, Finding, Report, Scope, verify};
use greyhound_sdk::fs::OsFileSystem;
use greyhound_sdk::testing::memory::MemoryBus;
use greyhound_sdk::{Shard, TopicSchema};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

const TOPIC: &str = "shop.order";
const HOUR: i64 = NOON / HOUR_US;

struct Tables {
    root: TempDir,
    store: Arc<dyn Store>,
}

#[derive(serde::Serialize)]
struct Gap {
    topic: Option<&'static str>,
    first_seq: Option<i64>,
    last_seq: Option<i64>,
    row_count: Option<i64>,
    reason: &'static str,
    from_time: i64,
    to_time: i64,
}

/// Hours 0 and 2 have rows, 1 and the one before all have none, 3 is open; rows 10 to 14 are missing in hour 0, in a gap that is recorded.
async fn tables() -> Tables {
    let root = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(LocalStore::new(Arc::new(OsFileSystem), root.path()));
    let memory = bus();
    let life = async || start_on(&memory, store.clone(), POLICY).await.drained().await.unwrap();
    publish(&memory, 0..10);
    life().await;
    memory.skip(TOPIC, 5);
    publish(&memory, 15..20);
    life().await;
    memory.set_time(NOON + 2 * HOUR_US);
    publish(&memory, 20..30);
    life().await;
    publish(&memory, 30..40);
    life().await;
    memory.set_time(NOON + 3 * HOUR_US);
    publish(&memory, 40..50);
    life().await;
    record_gap(&store).await;
    Tables { root, store }
}

async fn record_gap(store: &Arc<dyn Store>) {
    let gap = TopicSchema::from_avro(include_str!("../../../../schemas/greyhound.gap.avsc")).unwrap();
    let memory = MemoryBus::new(vec![gap, crate::record::schema().unwrap()]);
    memory.set_time(NOON);
    let (first, last) = (Some(10), Some(14));
    let row =
        Gap { topic: Some(TOPIC), first_seq: first, last_seq: last, row_count: Some(5), reason: "test", from_time: NOON, to_time: NOON };
    memory.bus().publisher("greyhound.gap").unwrap().offer(&row).unwrap();
    let compactor = Compactor::new(store.clone(), 1 << 20, None).resting();
    super::start_topic(&memory, "greyhound.gap", store.clone(), POLICY, compactor).await.drained().await.unwrap();
}

impl Tables {
    fn place(&self, hour: i64) -> PathBuf {
        self.root.path().join(place(hour))
    }

    fn file(&self, hour: i64, first: u64) -> PathBuf {
        self.place(hour).join(file_name(first))
    }

    async fn reports(&self) -> Vec<Report> {
        let reports = Arc::new(Mutex::new(Vec::new()));
        let all = reports.clone();
        verify(self.store.clone(), Scope::default(), |_| {}, move |report: Report| all.lock().unwrap().push(report)).await.unwrap();
        let mut reports = std::mem::take(&mut *reports.lock().unwrap());
        reports.retain(|report| report.topic == TOPIC);
        reports
    }

    async fn verify(&self) -> Report {
        self.reports().await.remove(0)
    }

    /// Of all shards, and of what is of none.
    async fn all_findings(&self) -> Vec<String> {
        self.reports().await.iter().flat_map(|report| &report.findings).map(ToString::to_string).collect()
    }

    async fn findings(&self) -> Vec<String> {
        self.verify().await.findings.iter().map(ToString::to_string).collect()
    }
}

fn place(hour: i64) -> String {
    directory(TOPIC, Hour(HOUR + hour), &Shard::new("test", 1))
}

fn has(findings: &[String], parts: &[&str]) {
    assert!(findings.iter().any(|finding| parts.iter().all(|part| finding.contains(part))), "{parts:?} in {findings:#?}");
}

#[tokio::test]
async fn what_is_right_is_right() {
    let report = tables().await.verify().await;
    assert_eq!(report.findings, []);
    assert_eq!((report.closed, report.files, report.rows, report.range, report.recorded), (4, 5, 45, Some((0, 49)), 5));
}

#[tokio::test]
async fn a_file_that_is_deleted_is_missed() {
    let tables = tables().await;
    fs::remove_file(tables.file(2, 20)).unwrap();
    let findings = tables.findings().await;
    has(&findings, &[&format!("{}/_SUCCESS", place(2)), &file_name(20), "is missing"]);
    has(&findings, &["rows 20 to 29 are missing after", &place(0)]);
}

#[tokio::test]
async fn the_last_file_of_an_hour_is_missed_too() {
    let tables = tables().await;
    fs::remove_file(tables.file(0, 15)).unwrap();
    has(&tables.findings().await, &["rows 15 to 19 are missing"]);
}

#[tokio::test]
async fn a_file_that_is_there_twice_is_named_with_the_other() {
    let tables = tables().await;
    // Beside the first one its name would not be that of its rows; in another hour it is.
    fs::copy(tables.file(2, 20), tables.file(3, 20)).unwrap();
    has(&tables.findings().await, &["rows 20 to 29 are twice", &place(3), &place(2)]);
    fs::copy(tables.file(3, 20), tables.file(3, 41)).unwrap();
    has(&tables.findings().await, &[&file_name(41), "by its footer it begins with row 20"]);
}

#[tokio::test]
async fn a_file_that_was_cut_is_named() {
    let tables = tables().await;
    let path = tables.file(2, 30);
    let content = fs::read(&path).unwrap();
    fs::write(&path, &content[..content.len() / 2]).unwrap();
    let findings = tables.findings().await;
    has(&findings, &[&file_name(30), "no whole Parquet file"]);
    has(&findings, &["rows 30 to 39 are missing"]);
}

#[tokio::test]
async fn rows_that_are_damaged_are_named() {
    let tables = tables().await;
    let path = tables.file(2, 30);
    let mut content = fs::read(&path).unwrap();
    content[4..40].fill(0xff);
    fs::write(&path, content).unwrap();
    has(&tables.findings().await, &[&file_name(30)]);
}

#[tokio::test]
async fn a_gap_that_is_not_recorded_is_rows_that_are_missing() {
    let tables = tables().await;
    fs::remove_dir_all(tables.root.path().join("greyhound.gap")).unwrap();
    assert_eq!(tables.findings().await, [format!("rows 10 to 14 are missing after {}, and greyhound.gap does not tell of them", place(0))]);
}

#[tokio::test]
async fn an_hour_that_is_not_closed_before_one_that_is_is_named() {
    let tables = tables().await;
    fs::remove_dir_all(tables.place(1)).unwrap();
    assert_eq!(tables.verify().await.findings, [Finding::Open { directory: place(1) }]);
    fs::remove_file(tables.place(0).join("_SUCCESS")).unwrap();
    has(&tables.findings().await, &[&format!("{} has no _SUCCESS", place(0))]);
}

#[tokio::test]
async fn a_success_that_tells_of_other_rows_is_named() {
    let tables = tables().await;
    let path = tables.place(2).join("_SUCCESS");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"rows\": 20", "\"rows\": 19")).unwrap();
    has(&tables.findings().await, &[&place(2), "it tells of 19 rows; there are 20"]);
}

#[tokio::test]
async fn a_success_that_nobody_can_read_is_named() {
    let tables = tables().await;
    fs::write(tables.place(1).join("_SUCCESS"), "").unwrap();
    let report = tables.verify().await;
    assert_eq!((report.findings.len(), report.rows), (1, 45), "{:?}", report.findings);
    has(&tables.findings().await, &[&format!("{}/_SUCCESS", place(1)), "not what Greyhound writes"]);
}

#[tokio::test]
async fn whatever_else_readers_would_read_is_named() {
    let tables = tables().await;
    let copied = |from: PathBuf, to: &str| {
        let to = tables.root.path().join(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, &to).unwrap();
    };
    let file = file_name(20);
    let day = directory(TOPIC, Hour(HOUR), &Shard::new("test", 1)).split('/').nth(1).unwrap().to_owned();
    let all = [
        format!("{TOPIC}/dt=old/hour=00/{file}"),
        format!("{TOPIC}/{file}"),
        format!("{TOPIC}/{day}/{file}"),
        format!("{TOPIC}/{day}/hour=1x/shard=test-00000001/{file}"),
        format!("{TOPIC}/{day}/hour=0/shard=test-00000001/{file}"),
        format!("{}/{file}", place(2).replace("test-00000001", "copy")),
        format!("{}/part/{file}", place(2)),
        format!("{}/{file}", place(2).replace("shard=", "old shard=")),
        format!("{}/notes.txt", place(2)),
        format!("{}/x.parquet/notes.txt", place(2)),
        format!("{TOPIC}/dt=2020-01-01"),
        format!("{TOPIC}/{day}/hour=01"),
        format!("{TOPIC}/{day}/hour=02/shard=test-00000001"),
    ];
    all.iter().for_each(|path| copied(tables.file(2, 20), path));
    for hidden in [format!("{TOPIC}/_old/{file}"), format!("{}/.hidden/{file}", place(2))] {
        copied(tables.file(2, 20), &hidden);
    }
    fs::create_dir_all(tables.place(2).join("empty/too")).unwrap();
    let findings = tables.all_findings().await;
    for path in &all {
        has(&findings, &[&format!("{path} is no file of the table")]);
    }
    has(&findings, &["_SUCCESS: it does not tell of x.parquet"]);
    assert_eq!(findings.len(), all.len() + 1, "{findings:#?}");
}

#[test]
fn a_day_is_a_day() {
    for day in ["2026-13-45", "yesterday", "2026-5-10", "2026-05-10 ", "", "2026-05-10T00:00:00Z"] {
        assert!(day.parse::<Day>().is_err(), "{day}");
    }
    assert!("2026-05-10".parse::<Day>().is_ok());
}

#[tokio::test]
async fn a_directory_in_the_midst_of_a_swap_is_read_in_staging() {
    let tables = tables().await;
    let mut swaps = Swaps::new(tables.store.clone(), TOPIC, Shard::new("test", 1));
    let aside = swaps.replacement(Hour(HOUR));
    tables.store.publish(&place(0), &aside).await.unwrap();
    let report = tables.verify().await;
    assert_eq!((report.findings, report.rows), (vec![], 45));
}

#[tokio::test]
async fn a_day_is_verified_alone() {
    let tables = tables().await;
    let reports = Arc::new(Mutex::new(Vec::new()));
    let all = reports.clone();
    let scope = Scope { topics: vec![TOPIC.to_owned()], day: Some("2026-05-11".parse().unwrap()), retained: false };
    verify(tables.store.clone(), scope, |_| {}, move |report: Report| all.lock().unwrap().push(report)).await.unwrap();
    assert!(reports.lock().unwrap().is_empty(), "no row is of that day");
}
