//! Tests of schemas.

use super::history::History;
use super::{BASKET, Engine, ITEM, Opened, ROWS};

pub(crate) async fn schemas_are_listed_oldest_first_after_a_crash(engine: impl Engine) {
    let mut history = History::default();
    let mut opened = Opened::of(&engine).await;
    for (fingerprint, avro) in [(9, "first"), (u64::MAX, "second\nwith a line"), (1, "third")] {
        opened.writer.register(BASKET, fingerprint, avro).await.expect("the schema is registered");
        assert_eq!(opened.log.schema(BASKET, fingerprint).as_deref(), Some(avro));
        opened = opened.again(&engine).await;
        assert_eq!(opened.log.schema(BASKET, fingerprint).as_deref(), Some(avro));
        history.append_rows(&mut *opened.writer, BASKET, 1, 20_000).await;
    }
    opened = opened.closed(&engine).await;
    assert_eq!(texts(&opened, BASKET), ["first", "second\nwith a line", "third"]);
    assert_eq!(opened.log.schema(BASKET, 8), None);
    history.check(&*opened.log).await;
}

pub(crate) async fn a_schema_is_registered_once(engine: impl Engine) {
    let mut opened = Opened::of(&engine).await;
    for _ in 0..3 {
        for (fingerprint, avro) in [(2, "old"), (1, "new")] {
            opened.writer.register(BASKET, fingerprint, avro).await.expect("the schema is registered");
        }
        assert_eq!(texts(&opened, BASKET), ["old", "new"]);
        opened = opened.again(&engine).await;
    }
}

pub(crate) async fn topics_do_not_share_schemas(engine: impl Engine) {
    let mut opened = Opened::of(&engine).await;
    opened.writer.register(BASKET, ROWS.0, "of baskets").await.expect("the schema is registered");
    opened.writer.register(BASKET, 1, "of baskets, later").await.expect("the schema is registered");
    assert_eq!(opened.log.schema(ITEM, 1), None);
    opened = opened.again(&engine).await;
    assert_eq!(texts(&opened, BASKET), ["of baskets", "of baskets, later"]);
    assert_eq!(texts(&opened, ITEM), [ROWS.1]);
}

fn texts(opened: &Opened, topic: &str) -> Vec<String> {
    opened.log.schemas(topic).iter().map(|s| s.to_string()).collect()
}
