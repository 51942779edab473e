//! Tests of the whole bus on a log in memory.

mod consuming;
mod faults;
mod memory_log;
mod publishing;
mod shares;
mod time;
mod validity;

use self::memory_log::Disk;
use super::*;
use crate::log::Retention;
use greyhound_sdk::testing::power_cut::PowerCut;
use greyhound_sdk::{Health, Publisher, Start};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicI64, Ordering};

const ORDER: &str = r#"{"type": "record", "namespace": "shop", "name": "order", "fields": [
    {"name": "id", "type": "long"}, {"name": "buyer", "type": ["null", "string"], "default": null}]}"#;
const ITEM: &str = r#"{"type": "record", "namespace": "shop", "name": "item", "fields": [
    {"name": "order_seq", "type": "long"}, {"name": "words", "type": {"type": "array", "items": "string"}}]}"#;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Order {
    id: i64,
    buyer: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Item {
    order_seq: u64,
    words: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct GapRow {
    topic: Option<String>,
    first_seq: Option<i64>,
    last_seq: Option<i64>,
    row_count: Option<i64>,
    reason: String,
    from_time: i64,
    to_time: i64,
}

fn order(id: i64) -> Order {
    Order { id, buyer: Some(format!("buyer {id}")) }
}

/// The disk, the files and the clock under a bus. They outlive it.
#[derive(Clone)]
struct Ground {
    disk: Disk,
    files: PowerCut,
    clock: Arc<AtomicI64>,
    options: BusOptions,
}

impl Ground {
    fn new() -> Self {
        let (files, clock) = (PowerCut::new(), Arc::new(AtomicI64::new(1_000_000)));
        let retention = Retention { bytes: u64::MAX, age: Duration::MAX, disk_cap: u64::MAX };
        let mut options = BusOptions::new(Arc::new(files.clone()), "/cursors".into(), retention, Health::default());
        let shown = clock.clone();
        options.clock = Clock::new(move || shown.load(Ordering::Relaxed));
        options.retention_interval = Duration::from_secs(3600);
        Self { disk: Disk::default(), files, clock, options }
    }

    async fn start(&self) -> EventBus {
        self.start_with(&[ORDER, ITEM]).await.unwrap()
    }

    async fn start_with(&self, avro: &[&str]) -> Result<EventBus, StartError> {
        let topics = avro.iter().map(|avro| TopicSchema::from_avro(avro).unwrap()).collect();
        EventBus::start(self.disk.open(), topics, self.options.clone()).await
    }

    fn set_clock(&self, time: i64) {
        self.clock.store(time, Ordering::Relaxed);
    }

    /// Returns why a part is not ready, as `/readyz` reports it.
    fn not_ready(&self, part: &str) -> Option<String> {
        self.options.health.parts().into_iter().find(|(name, _)| name == part).and_then(|(_, why)| why)
    }
}

fn orders(bus: &EventBus) -> Publisher {
    bus.handle().publisher("shop.order").unwrap()
}

/// Waits for `count` rows of `topic` from row `from` on, and returns them with their numbers.
async fn rows<T: DeserializeOwned>(bus: &EventBus, topic: &str, from: u64, count: usize) -> Vec<(u64, T)> {
    let mut consumer = bus.handle().consumer("test", topic, Start::Latest).await.unwrap();
    consumer.seek(from);
    let mut rows = Vec::new();
    while rows.len() < count {
        let batches = within(consumer.next(1 << 20)).await.unwrap();
        for batch in batches {
            let of_batch: Vec<T> = batch.read().unwrap();
            rows.extend((batch.first..).zip(of_batch));
        }
    }
    rows
}

async fn gaps(bus: &EventBus, count: usize) -> Vec<GapRow> {
    rows(bus, GAP_TOPIC, 0, count).await.into_iter().map(|(_, row)| row).collect()
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("completes in time")
}

/// Polls until `holds` returns true; panics after a deadline.
async fn until(mut holds: impl FnMut() -> bool) {
    within(async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}
