use super::memory_log::DiskMode;
use super::*;
use crate::log::Frame;
use arrow_array::{Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use greyhound_sdk::Refused;
use std::collections::BTreeMap;

fn batch(ids: std::ops::Range<i64>) -> RecordBatch {
    let rows: Vec<Order> = ids.map(order).collect();
    let schema = TopicSchema::from_avro(ORDER).unwrap();
    RecordBatch::try_new(schema.columns().clone(), serde_arrow::to_arrow(schema.columns().fields(), &rows).unwrap())
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_are_consecutive_in_the_order_of_publishing() {
    const THREADS: i64 = 4;
    const ROUNDS: i64 = 500;
    let ground = Ground::new();
    let bus = ground.start().await;
    let publish = |thread: i64| {
        let publisher = orders(&bus);
        move || {
            let mut numbered = Vec::new();
            for round in 0..ROUNDS {
                let id = (thread * ROUNDS + round) * 4;
                numbered.push((publisher.offer(&order(id)).unwrap(), id));
                let first = publisher.offer_batch(batch(id + 1..id + 4)).unwrap();
                numbered.extend((first..).zip(id + 1..id + 4));
            }
            assert!(numbered.is_sorted(), "a publisher's rows keep their order");
            numbered
        }
    };
    let threads: Vec<_> = (0..THREADS).map(|t| std::thread::spawn(publish(t))).collect();
    let numbered: BTreeMap<u64, i64> = threads.into_iter().flat_map(|t| t.join().unwrap()).collect();
    let total = (THREADS * ROUNDS * 4) as u64;
    assert!(numbered.keys().copied().eq(0..total));
    within(orders(&bus).durable(total - 1)).await.unwrap();
    let read: BTreeMap<u64, i64> = rows::<Order>(&bus, "shop.order", 0, total as usize)
        .await
        .into_iter()
        .map(|(seq, row)| (seq, row.id))
        .collect();
    assert_eq!(read, numbered);
}

#[tokio::test]
async fn single_rows_are_joined() {
    let ground = Ground::new();
    let bus = ground.start().await;
    ground.disk.set(DiskMode::Busy);
    let publisher = orders(&bus);
    (0..100).for_each(|id| assert_eq!(publisher.offer(&order(id)).unwrap(), id as u64));
    ground.disk.set(DiskMode::Healthy);
    within(publisher.durable(99)).await.unwrap();
    let frames = ground.disk.frames("shop.order");
    assert!(frames.len() <= 2, "100 rows in {} frames", frames.len());
    assert_eq!(rows::<Order>(&bus, "shop.order", 0, 100).await[99], (99, order(99)));
}

#[tokio::test]
async fn small_batches_are_joined_and_large_ones_are_not() {
    let ground = Ground::new();
    let bus = ground.start().await;
    let publisher = orders(&bus);
    ground.disk.set(DiskMode::Busy);
    publisher.offer(&order(0)).unwrap();
    until(|| bus.inner.core.queue().is_empty()).await;
    publisher.offer_batch(batch(1..4)).unwrap();
    publisher.offer(&order(4)).unwrap();
    publisher.offer_batch(batch(5..40_000)).unwrap();
    publisher.offer_batch(batch(40_000..40_002)).unwrap();
    ground.disk.set(DiskMode::Healthy);
    within(publisher.durable(40_001)).await.unwrap();
    let frames: Vec<_> = ground.disk.frames("shop.order").iter().map(|f| (f.first, f.rows)).collect();
    assert_eq!(frames, [(0, 1), (1, 4), (5, 39_995), (40_000, 2)]);
    assert_eq!(rows::<Order>(&bus, "shop.order", 0, 40_002).await[40_001].1, order(40_001));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_row_is_durable_before_a_row_it_refers_to() {
    let ground = Ground::new();
    let bus = ground.start().await;
    let publish = || {
        let (orders, items) = (orders(&bus), bus.handle().publisher("shop.item").unwrap());
        move || {
            for id in 0..2_000 {
                let order_seq = orders.offer(&order(id)).unwrap();
                items.offer(&Item { order_seq, words: vec![] }).unwrap();
            }
        }
    };
    let threads: Vec<_> = (0..3).map(|_| std::thread::spawn(publish())).collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    let items: BTreeMap<u64, Item> = rows(&bus, "shop.item", 0, 6_000).await.into_iter().collect();
    let mut durable = 0;
    let written: Vec<Frame> = ground.disk.groups().concat();
    for frame in written {
        let end = frame.first + u64::from(frame.rows);
        match &*frame.topic {
            "shop.order" => durable = end,
            _ => assert!((frame.first..end).all(|seq| items[&seq].order_seq < durable)),
        }
    }
}

#[tokio::test]
async fn a_row_that_does_not_fit_is_refused_and_affects_no_other() {
    let ground = Ground::new();
    let bus = ground.start().await;
    let items = bus.handle().publisher("shop.item").unwrap();
    let item = |n: u64| Item { order_seq: n, words: vec![format!("word {n}")] };
    items.offer(&item(0)).unwrap();
    let refused = items.offer(&serde_json::json!({"order_seq": 5, "words": ["good", ["bad"]]}));
    assert!(matches!(&refused, Err(Refused::Schema { topic, .. }) if topic == "shop.item"), "{refused:?}");
    assert_eq!(items.offer(&item(1)).unwrap(), 1, "no number was assigned");
    assert_eq!(rows::<Item>(&bus, "shop.item", 0, 2).await, [(0, item(0)), (1, item(1))]);
}

#[tokio::test]
async fn a_row_that_panics_affects_no_other() {
    struct Panics;
    impl Serialize for Panics {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeStruct;
            serializer.serialize_struct("Order", 2)?.serialize_field("id", &7)?;
            panic!("a bug in a plugin");
        }
    }
    let ground = Ground::new();
    let bus = ground.start().await;
    let publisher = orders(&bus);
    publisher.offer(&order(0)).unwrap();
    let panicking = publisher.clone();
    assert!(std::thread::spawn(move || panicking.offer(&Panics)).join().is_err());
    assert_eq!(publisher.offer(&order(1)).unwrap(), 1);
    assert_eq!(rows::<Order>(&bus, "shop.order", 0, 2).await, [(0, order(0)), (1, order(1))]);
}

#[tokio::test]
async fn a_batch_that_does_not_fit_is_refused() {
    let ground = Ground::new();
    let bus = ground.start().await;
    let refuse = |names: [&str; 2], id: Int64Array| {
        let fields = vec![Field::new(names[0], DataType::Int64, true), Field::new(names[1], DataType::Utf8, true)];
        let buyers = StringArray::new_null(1);
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![Arc::new(id), Arc::new(buyers)]).unwrap();
        orders(&bus).offer_batch(rows).map_err(|e| e.to_string())
    };
    assert!(
        refuse(["id", "seller"], Int64Array::from(vec![1]))
            .unwrap_err()
            .contains("`seller` is in the place of column `buyer`")
    );
    assert!(refuse(["id", "buyer"], Int64Array::from(vec![None])).unwrap_err().contains("id"));
    assert_eq!(refuse(["id", "buyer"], Int64Array::from(vec![1])), Ok(0));
    assert_eq!(orders(&bus).offer_batch(batch(0..0)).unwrap(), 1, "an empty batch uses no number");
}

#[tokio::test]
async fn the_writer_does_not_linger_over_an_awaited_row() {
    let mut ground = Ground::new();
    ground.options.linger = Duration::from_secs(3600);
    let bus = ground.start().await;
    let publisher = orders(&bus);
    let seq = publisher.offer(&order(0)).unwrap();
    within(publisher.durable(seq)).await.unwrap();
    let waiting = (1..=1_000).map(|id| {
        let publisher = publisher.clone();
        tokio::spawn(async move { publisher.durable(publisher.offer(&order(id)).unwrap()).await })
    });
    for waiting in waiting.collect::<Vec<_>>() {
        within(waiting).await.unwrap().unwrap();
    }
    assert_eq!(bus.close(Duration::from_secs(20)).await, End::Clean);
}

#[tokio::test]
async fn a_flush_waits_for_published_rows_up_to_its_limit() {
    let mut ground = Ground::new();
    ground.options.linger = Duration::from_secs(3600);
    let bus = ground.start().await;
    within(bus.flush(Duration::from_secs(20))).await;
    orders(&bus).offer(&order(0)).unwrap();
    within(bus.flush(Duration::from_secs(20))).await;
    assert_eq!(bus.status()[0].end, 1);
    ground.disk.set(DiskMode::Down);
    orders(&bus).offer(&order(1)).unwrap();
    within(bus.flush(Duration::from_millis(20))).await;
    assert_eq!(bus.status()[0].end, 1);
}

#[tokio::test]
async fn two_topics_cannot_share_a_name_or_a_table() {
    let ground = Ground::new();
    let twice = ground.start_with(&[ORDER, ITEM, ORDER]).await.err().unwrap();
    assert_eq!(twice.to_string(), "topic shop.order is declared twice; rename one of the two");
    for other in ["Shop.order", "shop_order"] {
        let (namespace, name) = other.split_once('.').unwrap_or(("", other));
        let avro = ORDER.replace("shop", namespace).replace(r#""name": "order""#, &format!(r#""name": "{name}""#));
        let alike = ground.start_with(&[ORDER, &avro]).await.err().unwrap().to_string();
        assert_eq!(
            alike,
            format!(
                "the topics shop.order and {other} would have the same table, because engines ignore case and a dot becomes `_`; rename one of them"
            )
        );
    }
    let own = ground.start_with(&[include_str!("../../../schemas/greyhound.gap.avsc")]).await;
    assert!(matches!(own, Err(StartError::DuplicateTopic(name)) if name == GAP_TOPIC));
    let bus = ground.start().await;
    let unknown = bus.handle().publisher("shop.basket").err().unwrap();
    assert_eq!(
        unknown.to_string(),
        "unknown topic `shop.basket`; expected one of: shop.order, shop.item, greyhound.gap"
    );
}
