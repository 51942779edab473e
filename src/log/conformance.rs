//! What every engine must hold, as tests: [`conformance!`] runs them all against one.

pub(crate) mod book;
pub(crate) mod bounds;
pub(crate) mod reading;
pub(crate) mod retention;
pub(crate) mod schemas;
pub(crate) mod writers;

use crate::log::{Log, LogWriter};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const ORDER: &str = "shop.order";
pub(crate) const ITEM: &str = "shop.item";
/// A topic that is not registered unless a test does.
pub(crate) const BASKET: &str = "shop.basket";
/// The schema of orders and items.
pub(crate) const ROWS: (u64, &str) = (7, "the schema of rows");

/// One log that outlives the process, and lets rows go in portions of at most some 32 KiB.
#[async_trait]
pub(crate) trait Engine: Send + Sync {
    /// Opens the log; makes it the first time. Nobody has it open.
    async fn open(&self) -> Arc<dyn Log>;
    /// What a kill, or worse, does to a log that nobody has open any more.
    async fn crash(&self);
}

/// An open log with its writer.
pub(crate) struct Opened {
    pub log: Arc<dyn Log>,
    pub writer: Box<dyn LogWriter>,
}

impl Opened {
    pub async fn of(engine: &impl Engine) -> Self {
        let log = engine.open().await;
        let writer = take_over(&*log).await;
        Self { log, writer }
    }

    /// As after a crash.
    pub async fn again(self, engine: &impl Engine) -> Self {
        drop(self);
        engine.crash().await;
        Self::of(engine).await
    }

    /// As after a proper end.
    pub async fn closed(self, engine: &impl Engine) -> Self {
        self.writer.close().await.expect("it closes");
        drop(self.log);
        engine.crash().await;
        Self::of(engine).await
    }
}

/// A new writer, to which orders and items are known.
pub(crate) async fn take_over(log: &dyn Log) -> Box<dyn LogWriter> {
    let mut writer = log.writer().await.expect("a log gives a writer");
    for topic in [ORDER, ITEM] {
        writer.register(topic, ROWS.0, ROWS.1).await.expect("it is registered");
    }
    writer
}

pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it happens in time")
}

/// Makes a test of each property that an engine must have, each against a new `$engine`, an expression of a type that
/// is [`Engine`].
macro_rules! conformance {
    ($engine:expr) => {
        $crate::log::conformance::conformance! {$engine;
            bounds: numbers_go_on_over_many_crashes, the_floor_never_falls_and_survives_a_crash, an_append_raises_the_floor,
                every_append_and_every_floor_wakes_those_who_wait, an_unknown_topic_is_empty_and_has_the_floor;
            reading: frames_are_read_back_as_they_were_appended, reading_begins_with_the_frame_that_holds_the_row,
                a_chunk_is_about_as_large_as_asked_for_and_never_empty, holes_are_left_out_and_keep_their_numbers,
                a_reader_beside_the_writer_sees_what_is_durable_and_nothing_else;
            retention: what_the_policy_keeps_is_kept, too_many_bytes_let_the_oldest_rows_go, old_age_lets_rows_go,
                what_a_consumer_needs_is_kept, above_the_disk_cap_even_that_goes_and_is_told, numbers_outlive_their_rows;
            schemas: schemas_are_known_oldest_first_after_a_crash, a_schema_is_registered_once, topics_do_not_share_schemas;
            writers: a_log_tells_whether_it_is_new_and_whether_it_was_closed, a_writer_that_has_not_appended_must_close_as_well,
                a_new_writer_fences_the_old_one, a_fenced_writer_does_not_close_the_log, the_reserve_takes_rows_like_any_append
        }
    };
    ($engine:expr; $($module:ident: $($name:ident),+);+) => {
        $($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                $crate::log::conformance::$module::$name($engine).await;
            }
        )+)+
    };
}
pub(crate) use conformance;
