use super::*;

async fn publish(bus: &EventBus, id: i64) {
    let publisher = orders(bus);
    within(publisher.durable(publisher.offer(&order(id)).unwrap())).await.unwrap();
}

fn times(ground: &Ground) -> Vec<i64> {
    ground.disk.frames("shop.order").iter().map(|f| f.time).collect()
}

#[tokio::test]
async fn the_append_time_never_decreases() {
    let ground = Ground::new();
    let bus = ground.start().await;
    for (id, time) in [5_000_000, 3_000_000, 4_000_000, 6_000_000].into_iter().enumerate() {
        ground.set_clock(time);
        publish(&bus, id as i64).await;
    }
    assert_eq!(times(&ground), [5_000_000, 5_000_000, 5_000_000, 6_000_000]);
    assert_eq!(bus.close(Duration::from_secs(20)).await, End::Clean);
    ground.set_clock(2_000_000);
    let bus = ground.start().await;
    publish(&bus, 9).await;
    assert_eq!(times(&ground)[4], 6_000_000, "not even across a restart");
}

#[tokio::test]
async fn a_clock_far_behind_the_last_row_is_reported() {
    let ground = Ground::new();
    let bus = ground.start().await;
    let hour = 3_600_000_000;
    ground.set_clock(10 * hour);
    publish(&bus, 0).await;
    until(|| ground.not_ready("clock").is_none()).await;
    ground.set_clock(9 * hour);
    publish(&bus, 1).await;
    until(|| ground.not_ready("clock").is_some_and(|why| why.contains("1h behind"))).await;
    ground.set_clock(10 * hour - 59_000_000);
    publish(&bus, 2).await;
    until(|| ground.not_ready("clock").is_none()).await;
    assert_eq!(times(&ground), [10 * hour; 3]);
}

#[tokio::test]
async fn the_floor_rises_while_nothing_is_published() {
    let mut ground = Ground::new();
    ground.options.floor_interval = Duration::from_millis(5);
    let bus = ground.start().await;
    let consumer = bus.handle().consumer("test", "shop.order", Start::Latest).await.unwrap();
    for time in [7_000_000, 8_000_000] {
        ground.set_clock(time);
        until(|| consumer.bounds().floor == time).await;
    }
    ground.set_clock(1_000_000);
    until(|| ground.not_ready("clock").is_none() && consumer.bounds().floor == 8_000_000).await;
}
