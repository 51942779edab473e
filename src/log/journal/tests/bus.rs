//! The bus on the journal, killed repeatedly.

use super::super::{Journal, Options, SyncPolicy};
use crate::bus::{BusOptions, EventBus, GAP_TOPIC};
use crate::log::conformance::within;
use crate::log::{Log, Retention};
use greyhound_sdk::fs::OsFileSystem;
use greyhound_sdk::{Health, Publisher, Start, TopicSchema};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

const TOPIC: &str = "shop.order";
const AVRO: &str =
    r#"{"type": "record", "namespace": "shop", "name": "order", "fields": [{"name": "id", "type": "long"}]}"#;
const PUBLISHERS: i64 = 4;

#[derive(Serialize, Deserialize)]
struct Order {
    id: i64,
}

/// The number and the order id of each acknowledged row.
type Acknowledged = Arc<Mutex<BTreeMap<u64, i64>>>;

/// Opens the journal as soon as its previous user has unlocked it.
async fn journal(dir: &Path, sync: SyncPolicy) -> Arc<Journal> {
    within(async {
        loop {
            let options = Options { node: "test".to_owned(), sync, segment_size: 64 << 10 };
            match Journal::open(Arc::new(OsFileSystem), &dir.join("journal"), options) {
                Ok(journal) => return journal,
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    })
    .await
}

async fn start(dir: &Path, sync: SyncPolicy) -> EventBus {
    let retention = Retention { bytes: u64::MAX, age: Duration::MAX, disk_cap: u64::MAX };
    let options = BusOptions::new(Arc::new(OsFileSystem), dir.join("cursors"), retention, Health::default());
    EventBus::start(journal(dir, sync).await, vec![TopicSchema::from_avro(AVRO).unwrap()], options).await.unwrap()
}

async fn publish(publisher: Publisher, orders: std::ops::Range<i64>, acknowledged: Acknowledged) {
    for id in orders {
        let seq = publisher.offer(&Order { id }).unwrap();
        if publisher.durable(seq).await.is_err() {
            return;
        }
        assert_eq!(acknowledged.lock().insert(seq, id), None, "number {seq} was assigned twice");
    }
}

async fn rows(bus: &EventBus) -> BTreeMap<u64, i64> {
    let mut consumer = bus.handle().consumer("test", TOPIC, Start::Latest).await.unwrap();
    let (end, mut rows) = (consumer.position(), BTreeMap::new());
    consumer.seek(0);
    while consumer.position() < end {
        for batch in within(consumer.next(10_000)).await.unwrap() {
            let orders: Vec<Order> = batch.read().unwrap();
            for (seq, order) in (batch.first..).zip(orders) {
                assert_eq!(rows.insert(seq, order.id), None, "row {seq} was read twice");
            }
        }
    }
    rows
}

/// Publishes until some rows are acknowledged, and drops the bus while it publishes.
async fn live(bus: EventBus, round: i64, acknowledged: &Acknowledged) {
    let wanted = acknowledged.lock().len() + 300;
    let mut publishers = JoinSet::new();
    for publisher in 0..PUBLISHERS {
        let first = (round * PUBLISHERS + publisher) * 1_000_000;
        publishers.spawn(publish(
            bus.handle().publisher(TOPIC).unwrap(),
            first..first + 1_000_000,
            acknowledged.clone(),
        ));
    }
    within(async {
        while acknowledged.lock().len() < wanted {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(bus);
    publishers.abort_all();
    while publishers.join_next().await.is_some() {}
}

async fn check_every_acknowledged_row_is_recorded_once(sync: SyncPolicy) {
    let dir = tempfile::tempdir().unwrap();
    let acknowledged = Acknowledged::default();
    for round in 0..5 {
        let bus = start(dir.path(), sync).await;
        let rows = rows(&bus).await;
        for (seq, id) in &*acknowledged.lock() {
            assert_eq!(rows.get(seq), Some(id), "row {seq}, {sync:?}");
        }
        let ids: std::collections::BTreeSet<i64> = rows.values().copied().collect();
        assert_eq!(ids.len(), rows.len(), "no order is recorded twice, {sync:?}");
        assert!(rows.keys().copied().eq(0..rows.len() as u64), "numbers are consecutive, {sync:?}");
        live(bus, round, &acknowledged).await;
    }
    let log = journal(dir.path(), sync).await;
    assert_eq!(log.recovery().damage, []);
    assert!(log.bounds(GAP_TOPIC).end >= 4, "each unclean stop is recorded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_fsync_a_kill_loses_no_acknowledged_row() {
    check_every_acknowledged_row_is_recorded_once(SyncPolicy::Fsync).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_interval_a_kill_loses_no_acknowledged_row() {
    check_every_acknowledged_row_is_recorded_once(SyncPolicy::Interval(Duration::from_millis(3))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_memory_a_kill_loses_no_acknowledged_row() {
    check_every_acknowledged_row_is_recorded_once(SyncPolicy::Memory).await;
}
