use super::memory_log::DiskMode;
use super::*;
use greyhound_sdk::Refused;

const VISIT: &str = r#"{"type": "record", "namespace": "shop", "name": "visit", "fields": [
    {"name": "kind", "type": {"type": "enum", "name": "kind", "symbols": ["come", "go"]}},
    {"name": "due", "type": {"type": "long", "logicalType": "timestamp-micros"}}]}"#;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Visit {
    kind: i8,
    due: i64,
}

fn visit(kind: i8, due: i64) -> Visit {
    Visit { kind, due }
}

fn visits(bus: &EventBus) -> Publisher {
    bus.handle().publisher("shop.visit").unwrap()
}

#[tokio::test]
async fn a_batch_with_an_invalid_row_is_refused() {
    let bus = Ground::new().start_with(&[VISIT]).await.unwrap();
    let offer = |rows: &[Visit]| {
        let schema = visits(&bus).schema().clone();
        visits(&bus).offer_batch(serde_arrow::to_record_batch(schema.columns().fields(), &rows).unwrap())
    };
    for bad in [visit(2, 0), visit(-1, 0), visit(0, i64::MAX), visit(0, i64::MIN)] {
        let refused = offer(&[visit(1, 0), bad.clone()]);
        assert!(matches!(&refused, Err(Refused::Schema { why, .. }) if why.contains("row 1")), "{bad:?}: {refused:?}");
    }
    assert_eq!(offer(&[visit(1, 0)]).unwrap(), 0, "no number was assigned");
}

#[tokio::test]
async fn an_invalid_single_row_becomes_a_gap_and_its_neighbours_are_recorded() {
    for sealed_by_a_batch in [false, true] {
        let ground = Ground::new();
        let bus = ground.start_with(&[VISIT]).await.unwrap();
        let publisher = visits(&bus);
        ground.disk.set(DiskMode::Busy);
        let rows = [visit(9, 0), visit(0, 1), visit(1, i64::MAX), visit(7, 7), visit(1, 4)];
        (0..).zip(&rows).for_each(|(seq, row)| assert_eq!(publisher.offer(row).unwrap(), seq));
        if sealed_by_a_batch {
            let rows = serde_arrow::to_record_batch(publisher.schema().columns().fields(), &[visit(0, 5)]).unwrap();
            publisher.offer_batch(rows).unwrap();
        }
        ground.disk.set(DiskMode::Healthy);
        within(publisher.durable(4)).await.unwrap();
        assert_eq!(within(publisher.durable(3)).await.unwrap_err().reason, "invalid");
        let mut read: Vec<u64> = rows_read(&bus, 2 + usize::from(sealed_by_a_batch)).await;
        read.truncate(2);
        assert_eq!(read, [1, 4]);
        let gaps = gaps(&bus, 3).await;
        let named: Vec<_> = gaps.iter().map(|gap| (gap.first_seq, gap.last_seq, gap.reason.as_str())).collect();
        assert_eq!(named, [0, 2, 3].map(|seq| (Some(seq), Some(seq), "invalid")));
    }
}

async fn rows_read(bus: &EventBus, count: usize) -> Vec<u64> {
    rows::<Visit>(bus, "shop.visit", 0, count).await.into_iter().map(|(seq, _)| seq).collect()
}

#[tokio::test]
async fn large_rows_are_not_joined_beyond_the_size_limit_of_a_frame() {
    let ground = Ground::new();
    let bus = ground.start().await;
    ground.disk.set(DiskMode::Busy);
    let publisher = orders(&bus);
    let large = Order { id: 1, buyer: Some("x".repeat(400_000)) };
    let offered: Vec<_> =
        (0..30).map(|_| publisher.offer_from(greyhound_sdk::Share::Program, 400_000, &large).unwrap()).collect();
    ground.disk.set(DiskMode::Healthy);
    within(publisher.durable(offered[29])).await.unwrap();
    assert!(ground.disk.frames("shop.order").iter().all(|frame| frame.rows <= 4));
}
