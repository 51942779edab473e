use super::memory_log::DiskMode;
use super::*;
use greyhound_sdk::{Refused, Share};

/// Returns how many rows of `share`, with texts of 1,000 bytes, are accepted before one is shed.
fn fill(bus: &EventBus, share: Share<'_>) -> usize {
    let publisher = orders(bus);
    let row = Order { id: 1, buyer: Some("x".repeat(1000)) };
    (0..10_000)
        .take_while(|_| match publisher.offer_from(share, 1000, &row) {
            Ok(_) => true,
            Err(Refused::Shed { reason: "share" | "overload", .. }) => false,
            Err(other) => panic!("{other}"),
        })
        .count()
}

#[tokio::test]
async fn rows_of_one_client_are_shed_before_they_starve_others() {
    let mut ground = Ground::new();
    ground.options.queue_bytes = 800_000;
    let bus = ground.start().await;
    ground.disk.set(DiskMode::Busy);
    let hog = fill(&bus, Share::Anonymous("192.0.2.7"));
    // A row is somewhat larger than its texts.
    assert!((50..=110).contains(&hog), "an eighth of the queue, not {hog} rows");
    let pusher = fill(&bus, Share::User("1"));
    assert!((50..=110).contains(&pusher), "an eighth of the queue, not {pusher} rows");
    let seq = orders(&bus).offer_from(Share::User("2"), 10, &order(7)).unwrap();
    let own = orders(&bus).offer(&order(8)).unwrap();
    assert_eq!(fill(&bus, Share::User("1")), 0, "its rows still use up its share");
    ground.disk.set(DiskMode::Healthy);
    within(orders(&bus).durable(seq)).await.unwrap();
    within(orders(&bus).durable(own)).await.unwrap();
    until(|| fill(&bus, Share::User("1")) > 0).await;
    let gap = gaps(&bus, 1).await.remove(0);
    assert_eq!(
        (gap.topic.as_deref(), gap.first_seq, gap.reason.as_str()),
        (Some("shop.order"), Some(hog as i64), "share")
    );
}

#[tokio::test]
async fn anonymous_clients_leave_room_for_users_and_clients_for_the_program() {
    let mut ground = Ground::new();
    ground.options.queue_bytes = 800_000;
    let bus = ground.start().await;
    ground.disk.set(DiskMode::Busy);
    let strangers: usize = (0..50).map(|n| fill(&bus, Share::Anonymous(&format!("192.0.2.{n}")))).sum();
    assert!((100..=260).contains(&strangers), "{strangers}");
    let users: usize = (0..50).map(|n| fill(&bus, Share::User(&n.to_string()))).sum();
    assert!((100..=260).contains(&users), "{users}");
    assert!(fill(&bus, Share::Program) > 200);
}
