//! The running sink: keeps the tables of all topics until drained.

use crate::age::Oldest;
use crate::record::SINK_TOPIC;
use crate::table::{CONSUMER, Stop, Table, Tables};
use async_trait::async_trait;
use greyhound_sdk::{Component, Drain, Error, Health, Start};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

/// How long a failed table stays down: at first, and at most.
const RESTART_PAUSE_MIN: Duration = Duration::from_secs(1);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(30);
/// How often to check whether a stranger's file is gone.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
pub(crate) struct Sink {
    pub(crate) tables: Tables,
    pub(crate) health: Health,
    /// Where the tables are, as shown to people.
    pub(crate) shown: String,
}

#[async_trait]
impl Component for Sink {
    fn routes(&mut self) -> axum::Router {
        self.tables.running.routes()
    }

    fn announce(&self) -> Vec<(String, String)> {
        vec![("tables".into(), self.shown.clone())]
    }

    async fn run(self: Box<Self>, mut drain: Drain) -> Result<(), Error> {
        let sink: Arc<Self> = self.into();
        keep_all(&sink, drain.clone()).await?;
        sink.report_uncommitted().await?;
        // No table waits for a running compaction: it stops after its current call of the store.
        let _ = timeout_at(drain.requested().await, sink.tables.compactor.idle()).await;
        Ok(())
    }
}

impl Sink {
    /// Waits until nothing is at `path` or the drain is requested.
    async fn wait_until_gone(&self, path: &str, drain: &mut Drain) {
        let gone = async {
            while !matches!(self.tables.store.exists(path).await, Ok(false)) {
                sleep(LOOK_INTERVAL).await;
            }
        };
        tokio::select! {
            () = gone => {}
            _ = drain.requested() => {}
        }
    }

    /// Logs the rows that are still missing from the tables.
    async fn report_uncommitted(&self) -> Result<(), Error> {
        let (mut rows, mut tables) = (0, Vec::new());
        for topic in self.tables.bus.topics() {
            let consumer = self.tables.bus.consumer(CONSUMER, topic.name(), Start::Earliest).await?;
            let left = consumer.bounds().end.saturating_sub(consumer.position().max(consumer.bounds().earliest));
            if left > 0 {
                rows += left;
                tables.push(topic.name().to_owned());
            }
        }
        if rows > 0 {
            let tables = tables.join(", ");
            tracing::warn!(
                rows,
                tables,
                "rows are not in their tables yet; the journal keeps them, and the next start commits them unless /readyz says why not"
            );
        }
        Ok(())
    }
}

/// Keeps every table until drained.
async fn keep_all(sink: &Arc<Sink>, mut drain: Drain) -> Result<(), Error> {
    let mut tables = JoinSet::new();
    // The table of commits is drained last: until then, the other tables record their commits in it.
    let (last, drain_of_last) = Drain::new();
    for topic in sink.tables.bus.topics() {
        let drain = if topic.name() == SINK_TOPIC { &drain_of_last } else { &drain };
        tables.spawn(keep(sink.clone(), topic.name().to_owned(), drain.clone()));
    }
    while let Some(ended) = tables.join_next().await {
        ended??;
        if tables.len() == 1 {
            last.request(drain.requested().await.saturating_duration_since(Instant::now()));
        }
    }
    Ok(())
}

/// Keeps a table, and reports the age of its oldest uncommitted row.
async fn keep(sink: Arc<Sink>, topic: String, drain: Drain) -> Result<(), Error> {
    let oldest = Oldest::new(&sink.tables.bus, &topic);
    tokio::select! {
        ended = run(sink, topic, drain) => ended,
        never = oldest.report() => match never {},
    }
}

/// Runs a table, and restarts it after a failure without delaying the others. If only an operator can help, the table
/// stays down until then, and `/readyz` says why.
async fn run(sink: Arc<Sink>, topic: String, mut drain: Drain) -> Result<(), Error> {
    let health = sink.health.of(&topic);
    let mut pause = RESTART_PAUSE_MIN;
    loop {
        let stop = match Table::new(&sink.tables, &topic, health.clone(), drain.clone()).await?.run().await {
            Ok(()) | Err(Stop::Drained(_)) => return Ok(()),
            Err(stop) => stop,
        };
        tracing::error!(error = %stop, "this table stops");
        health.not_ready(stop.to_string());
        if let Stop::Stranger { path, .. } = &stop {
            sink.wait_until_gone(path, &mut drain).await;
        }
        tokio::select! {
            () = sleep(pause) => pause = (pause * 2).min(RESTART_PAUSE_MAX),
            _ = drain.requested() => return Ok(()),
        }
    }
}
