//! One file that is damaged, deleted, or not Greyhound's stops nothing but itself, and no row is there twice.

use super::faults::POLICY;
use super::{NOON, Order, Running, TOPIC, bus, eventually, publish, read, start_on};
use crate::layout::{HOUR_US, Hour, directory, file_name};
use crate::quarantine::DAMAGED;
use crate::record;
use crate::store::local::LocalStore;
use crate::store::{Failure, Published, Store, StoreError, Transient};
use crate::success::{SUCCESS, Success};
use crate::table::CONSUMER;
use async_trait::async_trait;
use bytes::Bytes;
use greyhound_sdk::fs::OsFileSystem;
use greyhound_sdk::testing::memory::MemoryBus;
use greyhound_sdk::{Shard, Start, TopicSchema};
use parking_lot::Mutex;
use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

const HOUR: i64 = NOON / HOUR_US;

/// A journal, and a directory with its table.
struct Node {
    memory: MemoryBus,
    root: TempDir,
    /// A file that the store cannot read, as if all its replicas were corrupt.
    unreadable: Option<String>,
}

#[derive(Debug, PartialEq, serde::Deserialize)]
struct Gap {
    topic: Option<String>,
    first_seq: Option<i64>,
    last_seq: Option<i64>,
    row_count: Option<i64>,
    reason: String,
    from_time: i64,
    to_time: i64,
}

impl Node {
    /// With three files of 10 rows in the hour that is open.
    async fn new() -> Self {
        Self::with(bus(), 0).await
    }

    async fn with(memory: MemoryBus, first: u64) -> Self {
        let node = Self { memory, root: tempfile::tempdir().unwrap(), unreadable: None };
        for first in [first, first + 10, first + 20] {
            publish(&node.memory, first..first + 10);
            node.live().await;
        }
        node
    }

    fn store(&self) -> Arc<dyn Store> {
        let local = LocalStore::new(Arc::new(OsFileSystem), self.root.path());
        Arc::new(Unreadable { local, path: Mutex::new(self.unreadable.clone()) })
    }

    async fn start(&self) -> Running {
        start_on(&self.memory, self.store(), POLICY).await
    }

    /// Starts, commits what there is, and stops.
    async fn live(&self) {
        let table = self.start().await;
        let end = self.memory.batches(TOPIC).last().map(|batch| batch.end());
        eventually("all is committed", || self.memory.cursor(CONSUMER, TOPIC) == end).await;
        table.drained().await.unwrap();
    }

    /// Goes on until the open hour is closed.
    async fn close(&self) -> Success {
        let table = self.start().await;
        self.memory.set_time(NOON + HOUR_US);
        eventually("the hour is closed", || self.success().is_some()).await;
        table.drained().await.unwrap();
        self.success().unwrap()
    }

    fn success(&self) -> Option<Success> {
        serde_json::from_slice(&fs::read(self.place().join(SUCCESS)).ok()?).ok()
    }

    fn place(&self) -> PathBuf {
        self.root.path().join(place())
    }

    fn file(&self, first: u64) -> PathBuf {
        self.place().join(file_name(first))
    }

    /// The numbers of all rows in the hour, in the order of the files.
    fn rows(&self) -> Vec<i64> {
        let mut files: Vec<_> = fs::read_dir(self.place()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|end| end == "parquet"));
        files.sort();
        files.iter().flat_map(|path| read(fs::read(path).unwrap())).map(|(seq, _)| seq).collect()
    }

    /// What was moved out of the table.
    fn aside(&self) -> Vec<String> {
        let names = fs::read_dir(self.root.path().join(DAMAGED).join(place())).into_iter().flatten();
        let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.iter_mut().for_each(|name| name.truncate(name.rfind('.').unwrap()));
        names
    }

    async fn lose_cursor(&self) {
        self.memory.bus().consumer(CONSUMER, TOPIC, Start::Earliest).await.unwrap().commit(0).await.unwrap();
    }
}

fn place() -> String {
    directory(TOPIC, Hour(HOUR), &Shard::new("test", 1))
}

fn why(table: &Running) -> String {
    table.health.parts().into_iter().find_map(|(_, why)| why).unwrap_or_default()
}

#[tokio::test]
async fn a_foreign_file_is_told_for_what_it_is_and_waited_out() {
    let own = {
        let node = Node::new().await;
        fs::read(node.file(10)).unwrap()
    };
    for (content, what) in [
        (b"any bytes".to_vec(), "it is no whole Parquet file"),
        (Vec::new(), "it is no whole Parquet file"),
        (own, "by its footer it has the rows 10 to 19, which do not belong under its name"),
    ] {
        let node = Node::new().await;
        fs::write(node.file(30), content).unwrap();
        publish(&node.memory, 30..40);
        let table = node.start().await;
        eventually("it is told", || why(&table).contains(what)).await;
        let why = why(&table);
        assert!(
            why.contains(&file_name(30)) && why.contains("move away") && !why.contains("copy of this data directory"),
            "{why}"
        );
        publish(&node.memory, 40..50);
        assert_eq!(node.memory.cursor(CONSUMER, TOPIC), Some(30), "the rows wait");
        fs::remove_file(node.file(30)).unwrap();
        eventually("it goes on", || node.memory.cursor(CONSUMER, TOPIC) == Some(50)).await;
        table.drained().await.unwrap();
        assert_eq!(node.rows(), (0..50).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_when_its_hour_ends_and_its_rows_are_written_again() {
    for first in [0, 10, 20] {
        let node = Node::new().await;
        let content = fs::read(node.file(first)).unwrap();
        fs::write(node.file(first), &content[..content.len() / 2]).unwrap();
        let success = node.close().await;
        assert_eq!((success.rows, success.next, success.gaps), (30, 30, vec![]));
        assert_eq!(node.rows(), (0..30).collect::<Vec<_>>());
        assert_eq!(node.aside(), [file_name(first)]);
    }
}

#[tokio::test]
async fn a_file_that_the_store_cannot_read_is_set_aside_and_the_table_goes_on() {
    for first in [0, 10, 20] {
        let mut node = Node::new().await;
        node.unreadable = Some(format!("{}/{}", place(), file_name(first)));
        publish(&node.memory, 30..40);
        // At its first commit a table looks at the file before.
        node.live().await;
        assert_eq!(node.aside().is_empty(), first < 20);
        if first == 20 {
            node.unreadable = None;
        }
        let success = node.close().await;
        assert_eq!((success.rows, success.next, success.gaps), (40, 40, vec![]));
        assert_eq!(node.rows(), (0..40).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn what_the_journal_has_no_more_of_a_damaged_file_gets_a_gap_row() {
    let gap = TopicSchema::from_avro(include_str!("../../../../schemas/greyhound.gap.avsc")).unwrap();
    let topics = || vec![bus().bus().topics()[0].as_ref().clone(), record::schema().unwrap(), gap.clone()];
    for (damaged, kept, lost, rows) in [(0, 10, (0, 9), 20), (20, 30, (20, 29), 20), (10, 15, (10, 14), 25)] {
        let whole = MemoryBus::new(topics());
        whole.set_time(NOON);
        let mut node = Node::with(whole, 0).await;
        fs::write(node.file(damaged), "damaged").unwrap();
        // The journal without its oldest rows.
        node.memory = MemoryBus::new(topics());
        node.memory.set_time(NOON);
        node.memory.skip(TOPIC, kept);
        publish(&node.memory, kept..30);
        node.memory.bus().consumer(CONSUMER, TOPIC, Start::Earliest).await.unwrap().commit(30).await.unwrap();
        let success = node.close().await;
        assert_eq!(success.rows, rows, "of {damaged}");
        let expected = Gap {
            topic: Some(TOPIC.to_owned()),
            first_seq: Some(lost.0),
            last_seq: Some(lost.1),
            row_count: Some(lost.1 - lost.0 + 1),
            reason: "damage".to_owned(),
            from_time: NOON,
            to_time: NOON + HOUR_US,
        };
        // A journal that begins behind the hour does not tell where it ended.
        if kept < 30 {
            assert_eq!(node.memory.rows::<Gap>("greyhound.gap"), [expected]);
        } else {
            assert_eq!(node.memory.rows::<Gap>("greyhound.gap").len(), 1);
        }
    }
}

#[tokio::test]
async fn a_success_that_is_none_in_the_open_hour_is_set_aside() {
    for garbage in [
        "",
        "{\"topic\": \"sho",
        "{\"topic\": \"x\", \"shard\": \"y\", \"rows\": 0, \"next\": 0, \"files\": [], \"gaps\": []}",
    ] {
        for more in [0, 10] {
            let node = Node::new().await;
            fs::write(node.place().join(SUCCESS), garbage).unwrap();
            publish(&node.memory, 30..30 + more);
            node.live().await;
            if node.success().is_some_and(|it| it.topic == "x") {
                fs::write(node.place().join(SUCCESS), "not yet").unwrap();
            }
            let success = node.close().await;
            assert_eq!((success.topic.as_str(), success.rows), (TOPIC, 30 + more));
            assert_eq!(node.rows(), (0..30 + more as i64).collect::<Vec<_>>());
            assert!(!node.aside().is_empty());
        }
    }
}

#[tokio::test]
async fn whatever_is_deleted_with_the_cursors_no_row_is_there_twice() {
    for deleted in 0..8 {
        let node = Node::new().await;
        let files = [0, 10, 20].iter().enumerate().filter(|(at, _)| deleted & (1 << at) != 0);
        files.for_each(|(_, first)| fs::remove_file(node.file(*first)).unwrap());
        node.lose_cursor().await;
        // One file takes all that there is, but for what the table has.
        let policy = crate::roll_policy::Policy { file_size: 1 << 20, age: std::time::Duration::from_secs(600) };
        publish(&node.memory, 30..35);
        start_on(&node.memory, node.store(), policy).await.drained().await.unwrap();
        assert_eq!(node.rows(), (0..35).collect::<Vec<_>>(), "{deleted:b}");
    }
}

#[tokio::test]
async fn a_file_that_is_deleted_in_a_closed_hour_is_written_again_once_the_cursor_is_lost_too() {
    let node = Node::new().await;
    node.close().await;
    fs::remove_file(node.file(10)).unwrap();
    node.lose_cursor().await;
    node.live().await;
    assert_eq!(node.rows(), (0..30).collect::<Vec<_>>());
    fs::remove_dir_all(node.root.path().join(DAMAGED)).unwrap();
    let success = node.close().await;
    assert_eq!((success.rows, success.gaps), (30, vec![]));
}

#[tokio::test]
async fn a_file_that_is_deleted_in_the_open_hour_is_written_again_when_it_ends() {
    for first in [0, 10, 20] {
        let node = Node::new().await;
        fs::remove_file(node.file(first)).unwrap();
        let success = node.close().await;
        assert_eq!((success.rows, success.gaps), (30, vec![]));
        assert_eq!(node.memory.rows::<Order>(TOPIC).len(), node.rows().len());
    }
}

/// A store that cannot read one file, until that is moved away.
struct Unreadable {
    local: LocalStore,
    path: Mutex<Option<String>>,
}

impl Unreadable {
    fn check(&self, path: &str) -> Result<(), StoreError> {
        match self.path.lock().as_deref() == Some(path) {
            true => Err(Failure::transient(Transient::Unreachable, "no DataNode has a block of it that is whole")
                .at("read", path)),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Store for Unreadable {
    async fn write(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.local.write(path, bytes).await
    }

    async fn publish(&self, from: &str, to: &str) -> Result<Published, StoreError> {
        self.path.lock().take_if(|path| *path == from);
        self.local.publish(from, to).await
    }

    async fn read_tail(&self, path: &str, max: usize) -> Result<Option<(Bytes, u64)>, StoreError> {
        self.check(path)?;
        self.local.read_tail(path, max).await
    }

    async fn read(&self, path: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.check(path)?;
        self.local.read(path, range).await
    }

    async fn exists(&self, path: &str) -> Result<bool, StoreError> {
        self.local.exists(path).await
    }

    async fn list(&self, path: &str) -> Result<Vec<String>, StoreError> {
        self.local.list(path).await
    }

    async fn remove(&self, path: &str) -> Result<(), StoreError> {
        self.local.remove(path).await
    }

    async fn remove_tree(&self, path: &str) -> Result<(), StoreError> {
        self.local.remove_tree(path).await
    }
}

#[tokio::test]
async fn what_a_table_has_lost_is_written_again_from_the_journal_when_asked() {
    for lost in ["file", "hours", "table"] {
        let node = Node::new().await;
        node.close().await;
        node.memory.set_time(NOON + 3 * HOUR_US);
        publish(&node.memory, 30..40);
        let table = node.start().await;
        eventually("all is committed", || node.memory.cursor(CONSUMER, TOPIC) == Some(40)).await;
        match lost {
            "file" => fs::remove_file(node.file(10)).unwrap(),
            "hours" => fs::remove_dir_all(node.place()).unwrap(),
            _ => fs::remove_dir_all(node.root.path().join(TOPIC)).unwrap(),
        }
        let repaired = super::running_tables().repair().await.unwrap();
        let rows: u64 = repaired.iter().map(|table| table.rows).sum();
        assert_eq!(
            rows,
            match lost {
                "file" => 10,
                "hours" => 30,
                _ => 40,
            }
        );
        eventually("the hour is closed anew", || node.success().is_some()).await;
        assert_eq!(node.rows(), (0..30).collect::<Vec<_>>());
        assert_eq!((node.success().unwrap().rows, node.success().unwrap().gaps), (30, vec![]));
        assert_eq!(super::running_tables().repair().await.unwrap()[0].rows, 0, "nothing is there twice");
        table.drained().await.unwrap();
    }
}
