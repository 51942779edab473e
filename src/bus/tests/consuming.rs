use super::super::cursors::Cursors;
use super::*;
use crate::log::Lost;
use greyhound_sdk::{Consumer, Shard};

async fn publish(bus: &EventBus, ids: std::ops::Range<i64>) {
    let publisher = orders(bus);
    for id in ids {
        within(publisher.durable(publisher.offer(&order(id)).unwrap())).await.unwrap();
    }
}

async fn mailer(bus: &EventBus, start: Start) -> Consumer {
    bus.handle().consumer("mailer", "shop.order", start).await.unwrap()
}

fn lost(first: u64, last: u64) -> Lost {
    Lost { topic: Some("shop.order".into()), range: Some((first, last)), from: 1, to: 2 }
}

#[tokio::test]
async fn a_consumer_resumes_at_its_cursor() {
    let ground = Ground::new();
    let bus = ground.start().await;
    publish(&bus, 0..5).await;
    let mut consumer = mailer(&bus, Start::Earliest).await;
    assert_eq!(within(consumer.next(1)).await.unwrap()[0].first, 0);
    within(consumer.next(1)).await.unwrap();
    assert_eq!(consumer.position(), 2);
    consumer.commit(1).await.unwrap();
    drop((consumer, bus));
    let bus = ground.start().await;
    let mut consumer = mailer(&bus, Start::Earliest).await;
    let batches = within(consumer.next(usize::MAX)).await.unwrap();
    assert_eq!(batches.iter().map(|b| b.first).collect::<Vec<_>>(), [1, 2, 3, 4], "uncommitted rows are read again");
    let digests: Vec<_> = batches.iter().map(|b| b.digest).collect();
    consumer.seek(1);
    let again = within(consumer.next(usize::MAX)).await.unwrap();
    assert_eq!(again.iter().map(|b| b.digest).collect::<Vec<_>>(), digests);
}

#[tokio::test]
async fn a_consumer_waits_for_rows_and_may_be_cancelled() {
    let ground = Ground::new();
    let bus = ground.start().await;
    let mut consumer = mailer(&bus, Start::Earliest).await;
    assert!(tokio::time::timeout(Duration::from_millis(5), consumer.next(1)).await.is_err());
    let (batches, ()) = tokio::join!(within(consumer.next(usize::MAX)), publish(&bus, 0..1));
    assert_eq!((batches.unwrap()[0].rows.num_rows(), consumer.position()), (1, 1));
}

#[tokio::test]
async fn a_watcher_starts_at_the_end_and_does_not_delay_retention() {
    let ground = Ground::new();
    let bus = ground.start().await;
    publish(&bus, 0..3).await;
    let mut watcher = mailer(&bus, Start::Latest).await;
    assert_eq!(watcher.position(), 3);
    watcher.commit(3).await.unwrap();
    bus.retain().await.unwrap();
    assert!(ground.disk.required().is_empty());
    assert_eq!(
        bus.status()[0].consumers,
        [ConsumerStatus { name: "mailer".into(), position: 3, lag: 0, required: false, active: true }]
    );
    drop(watcher);
    assert!(bus.status()[0].consumers.is_empty());
    assert!(ground.files.files().is_empty());
}

#[tokio::test]
async fn the_status_shows_the_lag_of_consumers() {
    let ground = Ground::new();
    let bus = ground.start().await;
    publish(&bus, 0..3).await;
    mailer(&bus, Start::Earliest).await.commit(1).await.unwrap();
    let consumers = vec![ConsumerStatus { name: "mailer".into(), position: 1, lag: 2, required: true, active: false }];
    assert_eq!(bus.status()[0], TopicStatus { topic: "shop.order".into(), earliest: 0, end: 3, bytes: 0, consumers });
}

#[tokio::test]
async fn a_consumer_can_start_within_a_frame() {
    let ground = Ground::new();
    let bus = ground.start().await;
    let publisher = orders(&bus);
    (0..10).for_each(|id| assert!(publisher.offer(&order(id)).is_ok()));
    within(publisher.durable(9)).await.unwrap();
    assert_eq!(rows::<Order>(&bus, "shop.order", 7, 3).await[0], (7, order(7)));
}

#[tokio::test]
async fn rows_deleted_before_they_were_consumed_are_recorded() {
    let ground = Ground::new();
    let bus = ground.start().await;
    publish(&bus, 0..6).await;
    let mut consumer = mailer(&bus, Start::Earliest).await;
    consumer.commit(2).await.unwrap();
    ground.disk.doom(lost(0, 3));
    bus.retain().await.unwrap();
    assert_eq!(ground.disk.required()["shop.order"], 2);
    let gap = gaps(&bus, 1).await.remove(0);
    assert_eq!(
        (gap.first_seq, gap.last_seq, gap.row_count, gap.reason.as_str()),
        (Some(0), Some(3), Some(4), "retention")
    );
    consumer.seek(2);
    assert_eq!(
        within(consumer.next(usize::MAX)).await.unwrap()[0].first,
        4,
        "it continues at the oldest row that is kept"
    );
}

#[tokio::test]
async fn retention_waits_for_a_consumer_that_is_not_running() {
    let ground = Ground::new();
    let bus = ground.start().await;
    publish(&bus, 0..2).await;
    mailer(&bus, Start::Earliest).await.commit(1).await.unwrap();
    drop(bus);
    let bus = ground.start().await;
    bus.retain().await.unwrap();
    assert_eq!(ground.disk.required()["shop.order"], 1);
}

#[tokio::test]
async fn the_next_process_records_deleted_rows_that_were_not_recorded() {
    let ground = Ground::new();
    let bus = ground.start().await;
    publish(&bus, 0..4).await;
    mailer(&bus, Start::Earliest).await.commit(1).await.unwrap();
    ground.disk.doom(lost(1, 2));
    bus.inner.core.log.retain(&ground.options.retention, &std::collections::HashMap::new(), 0).await.unwrap();
    drop(bus);
    let bus = ground.start().await;
    let named: Vec<_> = gaps(&bus, 2).await.into_iter().map(|g| (g.first_seq, g.last_seq, g.reason)).collect();
    assert!(named.contains(&(Some(1), Some(2), "retention".to_owned())), "{named:?}");
}

#[tokio::test]
async fn numbers_that_a_consumer_has_seen_are_not_reused() {
    let ground = Ground::new();
    let bus = ground.start().await;
    publish(&bus, 0..3).await;
    mailer(&bus, Start::Earliest).await.commit(3).await.unwrap();
    drop(bus);
    ground.disk.forget_last("shop.order");
    let bus = ground.start().await;
    assert_eq!(orders(&bus).offer(&order(9)).unwrap(), 3);
    let named: Vec<_> = gaps(&bus, 2).await.into_iter().map(|g| (g.first_seq, g.reason)).collect();
    assert!(named.contains(&(Some(2), "unclean_stop".to_owned())), "{named:?}");
    assert_eq!(within(mailer(&bus, Start::Earliest).await.next(1)).await.unwrap()[0].first, 3);
}

#[tokio::test]
async fn old_rows_keep_the_schema_they_were_written_with() {
    let ground = Ground::new();
    let bus = ground.start_with(&[ORDER]).await.unwrap();
    publish(&bus, 0..1).await;
    assert_eq!(bus.close(Duration::from_secs(20)).await, End::Clean);
    let newer = ORDER.replace("]}", r#", {"name": "note", "type": ["null", "string"], "default": null}]}"#);
    let bus = ground.start_with(&[&newer]).await.unwrap();
    publish(&bus, 1..2).await;
    let batches = within(mailer(&bus, Start::Earliest).await.next(usize::MAX)).await.unwrap();
    assert_eq!(batches.iter().map(|b| b.rows.num_columns()).collect::<Vec<_>>(), [2, 3]);
    let old: Vec<Order> = batches[0].read().unwrap();
    assert_eq!(old, [order(0)]);
}

#[tokio::test]
async fn a_schema_that_old_rows_do_not_fit_is_refused() {
    let ground = Ground::new();
    assert_eq!(ground.start_with(&[ORDER]).await.unwrap().close(Duration::from_secs(20)).await, End::Clean);
    let changed = ORDER.replace(r#""id", "type": "long""#, r#""id", "type": "string""#);
    let refused = ground.start_with(&[&changed]).await.err().unwrap().to_string();
    assert!(refused.contains("shop.order") && refused.contains("`id` was Int64 and is now Utf8"), "{refused}");
}

#[test]
fn a_committed_cursor_survives_a_power_cut_at_any_step() {
    let shard = Shard::new("test", 1);
    let open =
        |disk: &PowerCut| Cursors::open(Arc::new(disk.clone()), std::path::Path::new("/cursors"), &shard).unwrap();
    let mut cut_before_the_end = 0;
    for steps in 0..40 {
        let disk = PowerCut::new();
        let (file, _) = open(&disk).open_cursor("mailer", &"shop.order".into(), 0);
        disk.fail_after(steps);
        let acknowledged =
            (1..=4).take_while(|next| file.file().commit("shop.order", *next).is_ok()).last().unwrap_or(0);
        cut_before_the_end += usize::from(acknowledged < 4);
        for seed in 0..8 {
            let (_, found) = open(&disk.after_power_cut(seed)).open_cursor("mailer", &"shop.order".into(), 0);
            assert!(
                (acknowledged..=acknowledged + 1).contains(&found),
                "{found} after {acknowledged} were acknowledged"
            );
        }
    }
    assert!((4..40).contains(&cut_before_the_end), "power cuts happened between the steps: {cut_before_the_end}");
}
