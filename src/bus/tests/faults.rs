use super::memory_log::DiskMode;
use super::*;
use crate::log::{Body, Log, Lost};
use greyhound_sdk::Refused;

/// Offers orders until `shed` of them are refused; returns how many were accepted.
fn fill(bus: &EventBus, shed: usize, reason: &str) -> u64 {
    let publisher = orders(bus);
    let (mut taken, mut refused) = (0, 0);
    while refused < shed {
        match publisher.offer(&order(taken)) {
            Ok(_) => taken += 1,
            Err(Refused::Shed { topic, count: 1, reason: given, .. }) if topic == "shop.order" && given == reason => {
                refused += 1
            }
            Err(other) => panic!("{other}"),
        }
        assert!(taken < 1_000_000, "the queue is bounded");
    }
    taken as u64
}

fn small() -> Ground {
    let mut ground = Ground::new();
    ground.options.queue_bytes = 40_000;
    ground
}

async fn closed(bus: EventBus) -> End {
    within(bus.close(Duration::from_secs(20))).await
}

#[tokio::test]
async fn shed_rows_are_recorded_as_a_gap() {
    let ground = small();
    let bus = ground.start().await;
    ground.disk.set(DiskMode::Busy);
    let taken = fill(&bus, 30, "overload");
    let publisher = orders(&bus);
    let waiting = tokio::spawn({
        let publisher = publisher.clone();
        async move { publisher.send(&order(-1)).await }
    });
    let lost = tokio::spawn({
        let publisher = publisher.clone();
        async move { publisher.durable(taken + 3).await }
    });
    ground.disk.set(DiskMode::Healthy);
    let next = within(waiting).await.unwrap().unwrap();
    assert_eq!(next, taken + 30, "shed rows keep their numbers");
    assert!(within(lost).await.unwrap().unwrap_err().to_string().contains("lost before it was durable: overload"));
    let mut shed = taken as i64;
    // In one row, or in several if the bus tried the disk again meanwhile.
    for count in 1.. {
        let gap = gaps(&bus, count).await.remove(count - 1);
        assert_eq!(
            (gap.topic.as_deref(), gap.first_seq, gap.reason.as_str()),
            (Some("shop.order"), Some(shed), "overload")
        );
        assert_eq!(gap.row_count, gap.last_seq.map(|last| last - shed + 1));
        shed = gap.last_seq.unwrap() + 1;
        if shed >= next as i64 {
            break;
        }
    }
    assert_eq!(shed, next as i64);
    let read = rows::<Order>(&bus, "shop.order", 0, taken as usize + 1).await;
    assert!(read.iter().map(|(seq, _)| *seq).eq((0..taken).chain([next])), "a reader sees the hole");
    let holes: u64 = ground
        .disk
        .frames("shop.order")
        .iter()
        .filter(|f| f.body == Body::Hole && f.first >= taken)
        .map(|f| u64::from(f.rows))
        .sum();
    assert_eq!(holes, 30);
    assert_eq!(closed(bus).await, End::Clean);
}

#[tokio::test]
async fn the_bus_waits_for_a_full_disk() {
    let ground = small();
    let bus = ground.start().await;
    ground.disk.set(DiskMode::Full);
    orders(&bus).offer(&order(-1)).unwrap();
    until(|| ground.not_ready("log").is_some_and(|why| why.contains("the disk is full"))).await;
    let taken = 1 + fill(&bus, 5, "disk_full");
    ground.disk.set(DiskMode::Healthy);
    within(orders(&bus).durable(taken - 1)).await.unwrap();
    assert_eq!(rows::<Order>(&bus, "shop.order", 0, taken as usize).await.len() as u64, taken);
    let gap = gaps(&bus, 1).await.remove(0);
    assert_eq!((gap.first_seq, gap.row_count, gap.reason.as_str()), (Some(taken as i64), Some(5), "disk_full"));
    until(|| ground.not_ready("log").is_none()).await;
}

#[tokio::test]
async fn gaps_are_recorded_in_the_reserve_of_a_full_disk() {
    let ground = Ground::new();
    drop(ground.start().await);
    ground.disk.set(DiskMode::Full);
    let bus = ground.start().await;
    assert_eq!(gaps(&bus, 1).await[0].reason, "unclean_stop");
    assert_eq!(ground.disk.reserved(), 1);
}

#[tokio::test]
async fn a_bus_that_closes_on_a_full_disk_records_the_rows_it_gives_up() {
    let ground = Ground::new();
    let bus = ground.start().await;
    let publisher = orders(&bus);
    within(publisher.durable(publisher.offer(&order(0)).unwrap())).await.unwrap();
    ground.disk.set(DiskMode::Full);
    publisher.offer(&order(1)).unwrap();
    until(|| bus.inner.core.queue().is_empty()).await;
    publisher.offer(&order(2)).unwrap();
    let waiting = tokio::spawn(async move { publisher.durable(1).await });
    let end = within(bus.close(Duration::from_millis(50))).await;
    assert!(matches!(end, End::GaveUp(_)), "{end:?}");
    assert!(within(waiting).await.unwrap().is_err());
    ground.disk.set(DiskMode::Healthy);
    let bus = ground.start().await;
    assert_eq!(orders(&bus).offer(&order(3)).unwrap(), 3, "their numbers are not reused");
    let gaps = gaps(&bus, 2).await;
    let named: Vec<_> = gaps.iter().map(|g| (g.first_seq, g.last_seq, g.reason.as_str())).collect();
    assert_eq!(named, [(Some(1), Some(1), "disk_full"), (Some(2), Some(2), "disk_full")]);
    assert_eq!(rows::<Order>(&bus, "shop.order", 0, 2).await, [(0, order(0)), (3, order(3))]);
}

#[tokio::test]
async fn a_log_that_fails_closes_the_bus() {
    let ground = Ground::new();
    let bus = ground.start().await;
    ground.disk.set(DiskMode::Poisoned);
    let publisher = orders(&bus);
    let seq = publisher.offer(&order(0)).unwrap();
    let lost = within(publisher.durable(seq)).await.unwrap_err();
    assert!(lost.reason.contains("fdatasync failed"), "{lost}");
    assert_eq!(within(bus.ended()).await, End::Failed("fdatasync failed".into()));
    assert!(ground.not_ready("log").unwrap().contains("fdatasync failed"));
    assert!(matches!(publisher.offer(&order(1)), Err(Refused::Shed { reason: "the bus is closed", .. })));
    within(publisher.send(&order(1))).await.unwrap_err();
    assert!(matches!(closed(bus).await, End::Failed(_)));
}

#[tokio::test]
async fn a_fenced_writer_stops() {
    let ground = Ground::new();
    let bus = ground.start().await;
    let _newer = ground.disk.open().writer().await.unwrap();
    let seq = orders(&bus).offer(&order(0)).unwrap();
    assert!(within(orders(&bus).durable(seq)).await.is_err());
    assert!(matches!(within(bus.ended()).await, End::Failed(why) if why.contains("newer writer")));
}

#[tokio::test]
async fn an_append_of_unknown_outcome_is_neither_lost_nor_duplicated() {
    for applied in [false, true] {
        let ground = Ground::new();
        let bus = ground.start().await;
        let publisher = orders(&bus);
        within(publisher.durable(publisher.offer(&order(0)).unwrap())).await.unwrap();
        ground.disk.set(DiskMode::Unknown { applied });
        within(publisher.durable(publisher.offer(&order(1)).unwrap())).await.unwrap();
        within(publisher.durable(publisher.offer(&order(2)).unwrap())).await.unwrap();
        assert_eq!(ground.disk.writers(), 2);
        assert_eq!(rows::<Order>(&bus, "shop.order", 0, 3).await, [(0, order(0)), (1, order(1)), (2, order(2))]);
        until(|| ground.not_ready("log").is_none()).await;
        assert_eq!(closed(bus).await, End::Clean);
    }
}

#[tokio::test]
async fn a_failing_log_is_retried() {
    let ground = small();
    let bus = ground.start().await;
    ground.disk.set(DiskMode::Down);
    orders(&bus).offer(&order(0)).unwrap();
    until(|| ground.not_ready("log").is_some()).await;
    let taken = 1 + fill(&bus, 1, "write_failed");
    ground.disk.set(DiskMode::Healthy);
    within(orders(&bus).durable(taken - 1)).await.unwrap();
    assert_eq!(gaps(&bus, 1).await[0].reason, "write_failed");
}

#[tokio::test]
async fn an_unclean_stop_is_recorded() {
    let ground = Ground::new();
    let bus = ground.start().await;
    within(orders(&bus).durable(orders(&bus).offer(&order(0)).unwrap())).await.unwrap();
    drop(bus);
    ground.set_clock(9_000_000);
    let bus = ground.start().await;
    let expected = GapRow {
        topic: None,
        first_seq: None,
        last_seq: None,
        row_count: None,
        reason: "unclean_stop".to_owned(),
        from_time: 1_000_000,
        to_time: 9_000_000,
    };
    assert_eq!(gaps(&bus, 1).await, [expected]);
    assert_eq!(orders(&bus).offer(&order(1)).unwrap(), 1);
    assert_eq!(closed(bus).await, End::Clean);
    assert_eq!(closed(ground.start().await).await, End::Clean);
    assert_eq!(ground.disk.frames(GAP_TOPIC).len(), 1, "a clean stop leaves no gap");
}

#[tokio::test]
async fn damage_is_recorded() {
    let ground = Ground::new();
    ground.disk.damage(Lost { topic: Some("shop.order".into()), range: Some((3, 9)), from: 5, to: 8 });
    let bus = ground.start().await;
    let expected = GapRow {
        topic: Some("shop.order".to_owned()),
        first_seq: Some(3),
        last_seq: Some(9),
        row_count: Some(7),
        reason: "damage".to_owned(),
        from_time: 5,
        to_time: 8,
    };
    assert_eq!(gaps(&bus, 1).await, [expected]);
}

#[tokio::test]
async fn rows_published_before_the_close_are_durable() {
    let ground = Ground::new();
    let bus = ground.start().await;
    (0..50).for_each(|id| assert_eq!(orders(&bus).offer(&order(id)).unwrap(), id as u64));
    assert_eq!(closed(bus).await, End::Clean);
    assert_eq!(rows::<Order>(&ground.start().await, "shop.order", 0, 50).await.len(), 50);
}

#[tokio::test]
async fn a_gap_begins_before_the_shed_rows() {
    let ground = small();
    let bus = ground.start().await;
    within(orders(&bus).durable(orders(&bus).offer(&order(-1)).unwrap())).await.unwrap();
    ground.disk.set(DiskMode::Busy);
    orders(&bus).offer(&order(-1)).unwrap();
    until(|| bus.inner.core.queue().is_empty()).await;
    ground.set_clock(2_000_000);
    fill(&bus, 1, "overload");
    ground.set_clock(3_000_000);
    ground.disk.set(DiskMode::Healthy);
    let gap = gaps(&bus, 1).await.remove(0);
    assert_eq!((gap.from_time, gap.to_time), (1_000_000, 3_000_000));
}
