//! Tests of what every engine must guarantee. [`conformance!`] runs all of them against one engine.

pub(crate) mod bounds;
pub(crate) mod history;
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
/// A topic that is registered only by some tests.
pub(crate) const BASKET: &str = "shop.basket";
/// The schema of orders and items.
pub(crate) const ROWS: (u64, &str) = (7, "the schema of rows");

/// One log that outlives the process. It must delete rows in units of at most about 32 KiB.
#[async_trait]
pub(crate) trait Engine: Send + Sync {
    /// Opens the log, or creates it the first time. The log is not open elsewhere.
    async fn open(&self) -> Arc<dyn Log>;
    /// Does to the log, which is not open any more, what a kill or a power cut does.
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

    /// Opens the log again after a crash.
    pub async fn again(self, engine: &impl Engine) -> Self {
        drop(self);
        engine.crash().await;
        Self::of(engine).await
    }

    /// Opens the log again after a clean close.
    pub async fn closed(self, engine: &impl Engine) -> Self {
        self.writer.close().await.expect("it closes");
        drop(self.log);
        engine.crash().await;
        Self::of(engine).await
    }
}

/// Returns a new writer with orders and items registered.
pub(crate) async fn take_over(log: &dyn Log) -> Box<dyn LogWriter> {
    let mut writer = log.writer().await.expect("a log gives a writer");
    for topic in [ORDER, ITEM] {
        writer.register(topic, ROWS.0, ROWS.1).await.expect("the schema is registered");
    }
    writer
}

pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("completes in time")
}

/// Defines a test for each property of an engine. Each runs against a new `$engine`, an expression of an [`Engine`].
macro_rules! conformance {
    ($engine:expr) => {
        $crate::log::conformance::conformance! {$engine;
            bounds: numbers_continue_after_many_crashes, the_floor_never_decreases_and_survives_a_crash,
                an_append_raises_the_floor, every_append_and_every_floor_wakes_waiting_readers,
                an_unknown_topic_is_empty_and_has_the_floor;
            reading: frames_are_read_back_as_they_were_appended, reading_starts_at_the_frame_that_holds_the_row,
                a_chunk_has_about_the_requested_size_and_is_never_empty, holes_are_omitted_and_keep_their_numbers,
                a_concurrent_reader_sees_durable_rows_and_nothing_else;
            retention: rows_within_the_policy_are_kept, the_size_limit_deletes_the_oldest_rows,
                the_age_limit_deletes_old_rows, rows_that_a_consumer_needs_are_kept,
                the_disk_cap_deletes_needed_rows_and_reports_them, numbers_outlive_their_rows;
            schemas: schemas_are_listed_oldest_first_after_a_crash, a_schema_is_registered_once, topics_do_not_share_schemas;
            writers: a_log_knows_whether_it_is_new_and_whether_it_was_closed, a_writer_that_never_appended_must_be_closed_too,
                a_new_writer_fences_the_old_one, a_fenced_writer_does_not_close_the_log, the_reserve_accepts_rows_like_any_append
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
