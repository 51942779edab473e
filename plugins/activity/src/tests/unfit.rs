//! A batch that cannot be encoded is set aside with a gap row, and its table goes on.

use super::faults::POLICY;
use super::{NOON, Order, TOPIC, bus, eventually, numbers, publish, start, start_topic, success};
use crate::compact::Compactor;
use crate::layout::HOUR_US;
use crate::record;
use crate::store::Store;
use crate::store::local::LocalStore;
use crate::verify::{Scope, verify};
use greyhound_sdk::TopicSchema;
use greyhound_sdk::testing::memory::MemoryBus;
use greyhound_sdk::testing::power_cut::PowerCut;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const GAP: &str = "greyhound.gap";

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

/// Two rows as an earlier version took them: their enum has no such symbol.
fn publish_unfit(memory: &MemoryBus) {
    let rows = [9, 9].map(|state| Order { state, buyer_id: "somebody".into() });
    let schema = memory.bus().topics()[0].clone();
    memory.append_unchecked(TOPIC, serde_arrow::to_record_batch(schema.columns().fields(), &rows).unwrap());
}

fn unfit(first: i64) -> Gap {
    Gap {
        topic: Some(TOPIC.into()),
        first_seq: Some(first),
        last_seq: Some(first + 1),
        row_count: Some(2),
        reason: "invalid".into(),
        from_time: NOON,
        to_time: NOON,
    }
}

#[tokio::test]
async fn a_batch_that_cannot_be_encoded_is_set_aside_and_the_table_goes_on() {
    let gap = TopicSchema::from_avro(include_str!("../../../../schemas/greyhound.gap.avsc")).unwrap();
    let memory = MemoryBus::new(vec![bus().bus().topics()[0].as_ref().clone(), record::schema().unwrap(), gap]);
    let disk = PowerCut::new();
    memory.set_time(NOON);
    publish_unfit(&memory);
    publish(&memory, 2..10);
    publish_unfit(&memory);
    publish(&memory, 12..20);
    start(&memory, &disk, Duration::from_secs(600)).await.drained().await.unwrap();
    let committed: Vec<i64> = (2..10).chain(12..20).collect();
    assert_eq!(numbers(&disk), committed);
    assert_eq!(memory.rows::<Gap>(GAP), [unfit(0), unfit(10)]);

    // The last rows of the journal, and those of its last hour.
    publish_unfit(&memory);
    start(&memory, &disk, Duration::from_secs(600)).await.drained().await.unwrap();
    assert_eq!(memory.cursor("activity", TOPIC), Some(22));
    let table = start(&memory, &disk, Duration::from_secs(600)).await;
    memory.set_time(NOON + HOUR_US);
    eventually("the hour is closed", || success(&disk, NOON / HOUR_US).is_some()).await;
    table.drained().await.unwrap();
    assert_eq!(memory.rows::<Gap>(GAP), [unfit(0), unfit(10), unfit(20)], "each is told once, also over restarts");
    publish(&memory, 22..30);
    start(&memory, &disk, Duration::from_secs(600)).await.drained().await.unwrap();
    assert_eq!(numbers(&disk), committed.into_iter().chain(22..30).collect::<Vec<_>>());
    assert_eq!(findings(&memory, &disk).await, Vec::<String>::new());
}

/// What `verify` finds, once the table of gaps is written.
async fn findings(memory: &MemoryBus, disk: &PowerCut) -> Vec<String> {
    let store: Arc<dyn Store> = Arc::new(LocalStore::new(Arc::new(disk.clone()), "/tables"));
    for topic in [GAP, record::SINK_TOPIC] {
        let compactor = Compactor::new(store.clone(), 1 << 20, None).resting();
        start_topic(memory, topic, store.clone(), POLICY, compactor).await.drained().await.unwrap();
    }
    let findings = Arc::new(Mutex::new(Vec::new()));
    let all = findings.clone();
    verify(store, Scope::default(), |_| {}, move |report| all.lock().unwrap().extend(report.findings)).await.unwrap();
    let findings = std::mem::take(&mut *findings.lock().unwrap());
    findings.iter().map(ToString::to_string).collect()
}
