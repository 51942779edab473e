//! Whatever is wrong with tables is found and named; what is right is not.

use super::faults::POLICY;
use super::{NOON, bus, publish, start_on};
use crate::compact::Compactor;
use crate::compact::swap::Swaps;
use crate::encode::Footer;
use crate::hours::Hours;
use crate::layout::{HOUR_US, Hour, directory, file_name};
use crate::store::Store;
use crate::store::local::LocalStore;
use crate::success::Success;
use crate::verify::{Day, Finding, Journal, NotADay, Report, Scope, verify};
use arrow_array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use greyhound_sdk::fs::OsFileSystem;
use greyhound_sdk::testing::memory::MemoryBus;
use greyhound_sdk::{Shard, TopicSchema};
use parquet::arrow::ArrowWriter;
use serde_json::json;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

const TOPIC: &str = "shop.order";
const HOUR: i64 = NOON / HOUR_US;

pub(super) struct Tables {
    pub(super) root: TempDir,
    pub(super) store: Arc<dyn Store>,
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

/// Hours 0 and 2 have rows, 1 has none, 3 is open; rows 10 to 14 are missing in hour 0, in a gap that is recorded.
pub(super) async fn tables() -> Tables {
    tables_with_gap_of(Some(TOPIC)).await
}

async fn tables_with_gap_of(topic: Option<&'static str>) -> Tables {
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
    record_gap(&store, topic).await;
    Tables { root, store }
}

async fn record_gap(store: &Arc<dyn Store>, topic: Option<&'static str>) {
    let gap = TopicSchema::from_avro(include_str!("../../../../schemas/greyhound.gap.avsc")).unwrap();
    let memory = MemoryBus::new(vec![gap, crate::record::schema().unwrap()]);
    memory.set_time(NOON);
    let gap = |first_seq, last_seq| Gap {
        topic,
        first_seq,
        last_seq,
        row_count: Some(5),
        reason: "test",
        from_time: NOON,
        to_time: NOON,
    };
    let publisher = memory.bus().publisher("greyhound.gap").unwrap();
    publisher.offer(&gap(Some(10), Some(14))).unwrap();
    // Later rows are missing that never had numbers.
    memory.set_time(NOON + 3 * HOUR_US);
    publisher.offer(&gap(None, None)).unwrap();
    let compactor = Compactor::new(store.clone(), 1 << 20, None).resting();
    super::start_topic(&memory, "greyhound.gap", store.clone(), POLICY, compactor).await.drained().await.unwrap();
}

impl Tables {
    fn place(&self, hour: i64) -> PathBuf {
        self.root.path().join(place(hour))
    }

    pub(super) fn file(&self, hour: i64, first: u64) -> PathBuf {
        self.place(hour).join(file_name(first))
    }

    /// What is reported of the table.
    pub(super) async fn reports(&self, scope: Scope) -> Vec<Report> {
        let reports = Arc::new(Mutex::new(Vec::new()));
        let all = reports.clone();
        verify(self.store.clone(), scope, |_| {}, move |report| all.lock().unwrap().push(report)).await.unwrap();
        let reports = std::mem::take(&mut *reports.lock().unwrap());
        reports.into_iter().filter(|report| report.topic == TOPIC).collect()
    }

    async fn verify(&self) -> Report {
        self.reports(Scope::default()).await.into_iter().find(|report| report.shard != "-").unwrap()
    }

    async fn findings(&self) -> Vec<String> {
        self.findings_in(Scope::default()).await
    }

    pub(super) async fn findings_in(&self, scope: Scope) -> Vec<String> {
        self.reports(scope).await.iter().flat_map(|report| &report.findings).map(ToString::to_string).collect()
    }

    /// Of all tables; `progress` may change them meanwhile.
    async fn findings_while(&self, progress: impl Fn(&str) + Send + 'static) -> Vec<Finding> {
        let findings = Arc::new(Mutex::new(Vec::new()));
        let all = findings.clone();
        verify(self.store.clone(), Scope::default(), progress, move |report| {
            all.lock().unwrap().extend(report.findings)
        })
        .await
        .unwrap();
        std::mem::take(&mut *findings.lock().unwrap())
    }
}

/// A file with these rows, whose footer says something.
fn parquet(seqs: std::ops::RangeInclusive<u64>, more: &[i64], shard: &str, last: u64) -> Vec<u8> {
    let all: Vec<i64> = seqs.clone().map(|seq| seq as i64).chain(more.iter().copied()).collect();
    let rows = all.len() as u64;
    let times = TimestampMicrosecondArray::from_value(NOON + 3 * HOUR_US, all.len()).with_timezone("UTC");
    let columns = [("seq", Arc::new(Int64Array::from(all)) as ArrayRef), ("time", Arc::new(times))];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    let text = String::new();
    Footer {
        shard: shard.to_owned(),
        first: *seqs.start(),
        last,
        rows,
        digest: text.clone(),
        schema: text,
        values: None,
        parts: vec![],
    }
    .write(&mut writer);
    writer.into_inner().unwrap()
}

fn place(hour: i64) -> String {
    directory(TOPIC, Hour(HOUR + hour), &Shard::new("test", 1))
}

fn has(findings: &[String], parts: &[&str]) {
    assert!(
        findings.iter().any(|finding| parts.iter().all(|part| finding.contains(part))),
        "{parts:?} in {findings:#?}"
    );
}

#[tokio::test]
async fn what_is_right_is_right() {
    let report = tables().await.verify().await;
    assert_eq!(report.findings, []);
    assert_eq!((report.closed, report.files, report.rows, report.range, report.recorded), (3, 5, 45, Some((0, 49)), 5));
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
async fn a_file_that_is_not_what_it_says_is_named() {
    let own = "test-00000001";
    for (first, content, why) in [
        (45, parquet(45..=54, &[], own, 54), "rows 45 to 49 are twice"),
        (50, parquet(50..=52, &[51, 52], own, 52), "rows 51 to 52 are twice"),
        (50, parquet(50..=52, &[], "other-00000001", 52), "it begins with row 50 of shard other-00000001"),
        (50, parquet(50..=52, &[], own, 60), "its footer tells of 3 rows, 50 to 60; there are 3, 50 to 52"),
        (51, parquet(50..=52, &[], own, 52), "by its footer it begins with row 50"),
    ] {
        let tables = tables().await;
        fs::write(tables.file(3, first), content).unwrap();
        let findings = tables.findings().await;
        has(&findings, &[why, &file_name(first)]);
        assert_eq!(findings.len(), 1, "{findings:?}");
    }
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
    let gap = tables.place(0).to_str().unwrap().replace(TOPIC, "greyhound.gap");
    fs::remove_file(format!("{gap}/{}", file_name(0))).unwrap();
    assert_eq!(
        tables.findings().await,
        [format!("rows 10 to 14 are missing after {}, and greyhound.gap does not tell of them", place(0))]
    );
}

#[tokio::test]
async fn a_gap_that_may_still_be_recorded_is_told_as_that() {
    let tables = tables().await;
    fs::remove_dir_all(tables.root.path().join("greyhound.gap")).unwrap();
    let findings = tables.findings().await;
    has(&findings, &["rows 10 to 14 are missing", "greyhound.gap may still tell of them"]);
    assert_eq!(findings.len(), 1, "{findings:?}");
}

#[tokio::test]
async fn whatever_else_a_reader_would_read_is_named() {
    let tables = tables().await;
    let (table, hour) = (tables.root.path().join(TOPIC), tables.place(2).parent().unwrap().to_owned());
    let day = hour.parent().unwrap().to_owned();
    let shard = "shard=test-00000001";
    let strays = [
        table.join("dt=old/hour=14/shard=test-00000001/00000000000000000020.parquet"),
        table.join(shard).join("deep/data.parquet"),
        table.join("part-0.snappy.parquet"),
        day.join("hour=1x").join(shard).join(file_name(20)),
        day.join(shard).join(file_name(20)),
        day.join("hour=23"),
        hour.join("shard=copy").join(file_name(20)),
        hour.join(file_name(20)),
        tables.place(2).join("00000000000000000020-copy.parquet"),
        tables.place(2).join("sub").join(file_name(20)),
        tables.place(1).join("_x.parquet"),
        table.join(".hidden/part-0.parquet"),
        table.join("_dt=2026-05-10").join("part-0"),
    ];
    for path in &strays {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(tables.file(2, 20), path).unwrap();
    }
    // Nobody reads these.
    fs::create_dir_all(table.join("dt=older/hour=00")).unwrap();
    fs::create_dir_all(table.join("_temporary/0")).unwrap();
    for hidden in
        [table.join("_temporary/0/part.tmp"), tables.place(2).join(".20.parquet.crc"), tables.root.path().join("notes")]
    {
        fs::copy(tables.file(2, 20), hidden).unwrap();
    }
    let named =
        |path: &PathBuf| format!("{} is not Greyhound's", path.strip_prefix(tables.root.path()).unwrap().display());
    let findings = tables.findings().await;
    strays.iter().for_each(|path| has(&findings, &[&named(path), "move it out of the table"]));
    assert_eq!(findings.len(), strays.len(), "{findings:#?}");
}

#[tokio::test]
async fn something_in_the_place_of_a_directory_or_a_file_is_named_and_the_rest_is_read() {
    let tables = tables().await;
    fs::remove_dir_all(tables.place(1)).unwrap();
    fs::write(tables.place(1), "a file").unwrap();
    fs::remove_file(tables.file(2, 30)).unwrap();
    fs::create_dir(tables.file(2, 30)).unwrap();
    let findings = tables.findings().await;
    has(&findings, &[&place(1), "move away what is in the place"]);
    has(&findings, &[&file_name(30), "move away what is in the place"]);
    has(&findings, &["rows 30 to 39 are missing"]);
    assert_eq!(tables.verify().await.rows, 35);
}

#[tokio::test]
async fn a_success_that_cannot_be_read_is_named_and_made_anew_where_it_is_removed() {
    let tables = tables().await;
    let path = tables.place(2).join("_SUCCESS");
    for (hour, garbage) in [(1, ""), (2, "{\"topic\": \"sho")] {
        let path = tables.place(hour).join("_SUCCESS");
        let right = fs::read(&path).unwrap();
        fs::write(&path, garbage).unwrap();
        let findings = tables.findings().await;
        has(
            &findings,
            &[&format!("{}/_SUCCESS: it cannot be read", place(hour)), "remove this file, and start the node"],
        );
        assert_eq!(findings.len(), 1, "{findings:?}");
        fs::write(&path, right).unwrap();
    }
    fs::write(&path, "").unwrap();
    let start = async |hour: i64| {
        let mut hours = Hours::new(tables.store.clone(), TOPIC, Shard::new("test", 1));
        hours.resume(1).await.unwrap();
        hours.close_all_before(Hour(HOUR + hour)).await;
    };
    start(4).await;
    let next = Success::read(tables.store.as_ref(), &place(3)).await.unwrap().unwrap();
    assert_eq!((next.gaps, next.next), (vec![], 50), "the next one is right");
    fs::remove_file(tables.place(3).join("_SUCCESS")).unwrap();
    fs::remove_file(&path).unwrap();
    start(4).await;
    assert_eq!(tables.verify().await.findings, []);
}

#[tokio::test]
async fn a_directory_beside_the_tables_is_none_of_its_business() {
    let tables = tables().await;
    let beside = tables.root.path().join("sales/dt=2026-05-10");
    fs::create_dir_all(&beside).unwrap();
    fs::copy(tables.file(2, 20), beside.join("part-0.parquet")).unwrap();
    assert_eq!(tables.findings_while(|_| {}).await, []);
}

#[tokio::test]
async fn a_success_of_another_shard_is_named() {
    let tables = tables().await;
    let path = tables.place(1).join("_SUCCESS");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("test-00000001", "other-00000001")).unwrap();
    has(&tables.findings().await, &[&place(1), "it is of shard other-00000001 in shop.order"]);
}

#[tokio::test]
async fn an_hour_that_is_not_closed_before_one_that_is_is_named() {
    let tables = tables().await;
    fs::remove_file(tables.place(1).join("_SUCCESS")).unwrap();
    assert_eq!(tables.verify().await.findings, [Finding::Open { directory: place(1) }]);
    fs::remove_dir_all(tables.place(1)).unwrap();
    assert_eq!(tables.verify().await.findings, [Finding::Open { directory: place(1) }]);
    fs::remove_file(tables.place(0).join("_SUCCESS")).unwrap();
    has(&tables.findings().await, &[&format!("{} has no _SUCCESS", place(0))]);
}

#[tokio::test]
async fn a_success_that_tells_of_other_rows_is_named() {
    let tables = tables().await;
    let path = tables.place(2).join("_SUCCESS");
    let right: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for (key, value, why) in [
        ("rows", json!(19), "it tells of 19 rows; there are 20".to_owned()),
        ("files", json!([[20, 29]]), format!("it does not tell of {}", file_name(30))),
        ("files", json!([[20, 28], [30, 39]]), "it tells of files with rows 20 to 28, 30 to 39; there are".to_owned()),
        ("last", json!(38), "it tells of rows 20 to 38; there are 20 to 39".to_owned()),
        ("gaps", json!([[20, 21]]), "it tells of gaps 20 to 21; there are none".to_owned()),
        ("next", json!(41), "it tells that row 41 is the next; it is 40".to_owned()),
    ] {
        let mut wrong = right.clone();
        wrong[key] = value;
        fs::write(&path, wrong.to_string()).unwrap();
        let findings = tables.findings().await;
        has(&findings, &[&format!("{}/_SUCCESS", place(2)), &why]);
        assert_eq!(findings.len(), 1, "{findings:?}");
    }
}

#[tokio::test]
async fn an_hour_that_changes_while_it_is_looked_at_is_looked_at_again() {
    let tables = tables().await;
    let (path, aside) = (tables.file(2, 30), tables.root.path().join("aside"));
    fs::rename(&path, &aside).unwrap();
    // It was listed before, and comes back when it is about to be read.
    let progress = move |directory: &str| drop((directory == place(2)).then(|| fs::rename(&aside, &path)));
    assert_eq!(tables.findings_while(progress).await, []);
}

#[tokio::test]
async fn an_hour_whose_files_are_replaced_by_others_of_their_names_is_looked_at_again() {
    let tables = tables().await;
    let (path, success) = (tables.file(2, 30), tables.place(2).join("_SUCCESS"));
    let (content, text) = (fs::read(&path).unwrap(), fs::read_to_string(&success).unwrap());
    fs::write(&path, &content[..content.len() / 2]).unwrap();
    let compacted = text.replace("\"compacted\": false", "\"compacted\": true");
    assert_ne!(compacted, text);
    // The swap is when it was listed; the first look reads parts of both.
    let looks = Mutex::new(0);
    let progress = move |directory: &str| {
        if directory == place(2) {
            *looks.lock().unwrap() += 1;
            match *looks.lock().unwrap() {
                1 => fs::write(&success, &compacted).unwrap(),
                _ => fs::write(&path, &content).unwrap(),
            }
        }
    };
    assert_eq!(tables.findings_while(progress).await, []);
}

#[tokio::test]
async fn hours_that_are_closed_while_others_are_looked_at_are_not_open() {
    let tables = tables().await;
    let closed: Vec<_> =
        [0, 1].map(|hour| tables.place(hour).join("_SUCCESS")).map(|path| (fs::read(&path).unwrap(), path)).into();
    closed.iter().for_each(|(_, path)| fs::remove_file(path).unwrap());
    let progress = move |directory: &str| {
        if directory == place(2) {
            closed.iter().for_each(|(text, path)| fs::write(path, text).unwrap());
        }
    };
    assert_eq!(tables.findings_while(progress).await, []);
}

#[tokio::test]
async fn rows_before_the_first_are_missing_unless_days_are_removed() {
    let tables = tables().await;
    for hour in [0, 1] {
        fs::remove_dir_all(tables.place(hour)).unwrap();
    }
    has(&tables.findings().await, &["rows 0 to 9 are missing from the begin"]);
    let day = Some("2026-05-10".parse().unwrap());
    for scope in
        [Scope { retention: Some(Duration::from_secs(86_400)), ..Scope::default() }, Scope { day, ..Scope::default() }]
    {
        assert_eq!(tables.findings_in(scope).await, [""; 0]);
    }
    // Retention empties a directory before it removes it.
    fs::create_dir_all(tables.place(0)).unwrap();
    assert_eq!(
        tables.findings_in(Scope { retention: Some(Duration::from_secs(86_400)), ..Scope::default() }).await,
        [""; 0]
    );
}

#[tokio::test]
async fn years_of_a_clock_that_leapt_are_no_hours_that_are_not_closed() {
    let tables = tables().await;
    fs::create_dir_all(tables.place(24 * 400)).unwrap();
    let success = json!({"topic": TOPIC, "shard": "test-00000001", "rows": 0, "next": 50, "files": [], "gaps": []});
    fs::write(tables.place(24 * 400).join("_SUCCESS"), success.to_string()).unwrap();
    assert_eq!(tables.verify().await.findings, [Finding::Open { directory: place(3) }]);
}

#[tokio::test]
async fn a_gap_of_another_topic_or_shard_records_nothing() {
    assert_eq!(tables_with_gap_of(None).await.findings().await, [""; 0], "it is of any topic of the shard");
    has(&tables_with_gap_of(Some("shop.item")).await.findings().await, &["rows 10 to 14 are missing"]);
    let tables = tables().await;
    let own = tables.place(0).to_str().unwrap().replace(TOPIC, "greyhound.gap");
    fs::rename(&own, own.replace("test-00000001", "other-00000001")).unwrap();
    has(&tables.findings().await, &["rows 10 to 14 are missing"]);
}

#[tokio::test]
async fn a_directory_in_the_midst_of_a_swap_is_read_in_staging() {
    let tables = tables().await;
    // Also where it is the one that tells of what is missing.
    for topic in [TOPIC, "greyhound.gap"] {
        let aside = Swaps::new(tables.store.clone(), topic, Shard::new("test", 1)).replacement(Hour(HOUR));
        tables.store.publish(&place(0).replace(TOPIC, topic), &aside).await.unwrap();
    }
    let report = tables.verify().await;
    assert_eq!((report.findings, report.rows), (vec![], 45));
}

#[tokio::test]
async fn a_day_is_verified_alone() {
    let tables = tables().await;
    let rows = async |day: &str| {
        let reports = tables.reports(Scope { day: Some(day.parse().unwrap()), ..Scope::default() }).await;
        reports.iter().map(|report| report.rows).sum::<u64>()
    };
    assert_eq!((rows("2026-05-10").await, rows("2026-05-11").await), (45, 0));
    assert_eq!(tables.reports(Scope { topics: vec!["shop.item".to_owned()], ..Scope::default() }).await.len(), 0);
    for text in ["2026-13-45", "2026-02-30", "2026-5-1", "yesterday", "", "2026-05-10T00"] {
        assert_eq!(text.parse::<Day>(), Err(NotADay), "{text}");
    }
}

/// [`tables`], and `greyhound.sink` with what was committed to them.
async fn tables_with_sink() -> Tables {
    let root = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(LocalStore::new(Arc::new(OsFileSystem), root.path()));
    let memory = bus();
    for hour in [0, 2, 3] {
        memory.set_time(NOON + hour * HOUR_US);
        publish(&memory, hour as u64 * 10..hour as u64 * 10 + 10);
        start_on(&memory, store.clone(), POLICY).await.drained().await.unwrap();
    }
    let compactor = Compactor::new(store.clone(), 1 << 20, None).resting();
    super::start_topic(&memory, crate::record::SINK_TOPIC, store.clone(), POLICY, compactor)
        .await
        .drained()
        .await
        .unwrap();
    Tables { root, store }
}

#[tokio::test]
async fn what_was_committed_last_is_missed_by_greyhound_sink() {
    let tables = tables_with_sink().await;
    assert_eq!(tables.findings().await, [""; 0]);
    fs::remove_dir_all(tables.place(3)).unwrap();
    has(
        &tables.findings().await,
        &["rows 20 to 29 are missing after", &place(2), "committed to", &format!("{}/{}", place(3), file_name(20))],
    );
    let day = Some("2026-05-10".parse().unwrap());
    assert_eq!(tables.findings_in(Scope { day, ..Scope::default() }).await.len(), 1);
    let removed = Scope { retention: Some(Duration::from_secs(86_400)), ..Scope::default() };
    assert_eq!(tables.findings_in(removed).await, [""; 0], "that day may have been removed");
    fs::remove_dir_all(tables.root.path().join(TOPIC)).unwrap();
    has(&tables.findings().await, &["rows 0 to 29 are missing from the begin", "committed to"]);
}

#[tokio::test]
async fn what_was_committed_last_is_missed_by_the_journal_of_a_node_that_answers() {
    let tables = tables().await;
    let scope = |topic: &str, committed| {
        let journal = Journal { shard: "test-00000001".to_owned(), topic: topic.to_owned(), earliest: 0, committed };
        Scope { journals: vec![journal], ..Scope::default() }
    };
    assert_eq!(tables.findings_in(scope(TOPIC, 50)).await, [""; 0]);
    has(&tables.findings_in(scope(TOPIC, 60)).await, &["rows 50 to 59 are missing after", &place(3)]);
    fs::remove_dir_all(tables.root.path().join(TOPIC)).unwrap();
    has(&tables.findings_in(scope(TOPIC, 50)).await, &["rows 0 to 9 are missing from the begin"]);
}

#[tokio::test]
async fn a_file_that_was_moved_to_another_day_is_named() {
    let tables = tables().await;
    let moved = tables.file(3 + 24, 40);
    fs::create_dir_all(moved.parent().unwrap()).unwrap();
    fs::rename(tables.file(3, 40), moved).unwrap();
    has(&tables.findings().await, &[&place(27), "belong into dt=2026-05-10/hour=11: move it there"]);
}
