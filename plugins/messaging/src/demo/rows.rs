//! Streams the rows of all topics, as they become durable, as server-sent events.

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream, StreamExt};
use greyhound_sdk::{Batch, Bus, Consumer, Start, TopicSchema};
use serde::Serialize;
use serde_json::{Map, Value};
use std::convert::Infallible;

/// How many rows of a batch are sent to the page: a broadcast to thousands must not overload the browser.
const ROWS_PER_EVENT_MAX: usize = 50;
/// How many bytes of a topic are read at once.
const READ_BYTES: usize = 1 << 20;

/// An event of the stream.
#[derive(Serialize)]
struct Rows<'a> {
    topic: &'a str,
    /// How many rows became durable.
    count: usize,
    /// The first of them.
    rows: Vec<Map<String, Value>>,
}

/// Streams to one page. The consumers belong to the stream and end with the connection.
pub(super) async fn rows(State(bus): State<Bus>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let mut topics = Vec::new();
    for schema in bus.topics() {
        if let Ok(consumer) = bus.consumer("demo", schema.name(), Start::Latest).await {
            topics.push(Box::pin(stream::unfold(consumer, watch).flat_map(stream::iter)));
        }
    }
    Sse::new(stream::select_all(topics).map(Ok)).keep_alive(KeepAlive::default())
}

/// Returns the next events of a topic, or `None` to end the stream if the topic cannot be read.
async fn watch(mut consumer: Consumer) -> Option<(Vec<Event>, Consumer)> {
    let batches = consumer
        .next(READ_BYTES)
        .await
        .inspect_err(|error| tracing::warn!(%error, "the demo page stopped reading a topic"))
        .ok()?;
    // Without commits, the consumer would be reported as falling behind.
    consumer.commit(consumer.position()).await.ok()?;
    let events = batches.iter().filter_map(|batch| event(consumer.schema(), batch)).collect();
    Some((events, consumer))
}

fn event(schema: &TopicSchema, batch: &Batch) -> Option<Event> {
    let shown = batch.rows.slice(0, batch.rows.num_rows().min(ROWS_PER_EVENT_MAX));
    let rows = schema.to_table(batch.first, batch.time, &shown).ok()?;
    let rows = serde_arrow::from_record_batch(&rows).ok()?;
    Event::default().json_data(Rows { topic: schema.name(), count: batch.rows.num_rows(), rows }).ok()
}
