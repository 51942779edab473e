//! Compares the encoding of delivery rows by the sink with a plain loop of the parquet crate on the same batches.
//!
//! `cargo bench --bench sink` prints one Markdown table. The plain loop gets prepared table columns and writes them
//! with the same properties; the sink starts from the batches of the bus. Environment: `ROUNDS` (5), `ROWS` (4 million
//! per round).

use arrow_array::{ArrayRef, Int8Array, Int32Array, Int64Array, RecordBatch, StringArray};
use greyhound_activity::encode::{Encoder, Encodings, properties};
use greyhound_activity::roll_policy::Span;
use greyhound_sdk::{Batch, Shard, TopicSchema};
use parquet::arrow::ArrowWriter;
use std::sync::Arc;
use std::time::Instant;

const RECIPIENTS: usize = 1000;

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

fn main() {
    let schema = Arc::new(
        TopicSchema::from_avro(include_str!("../schemas/messaging.delivery.avsc")).expect("the schema of deliveries"),
    );
    let rows = setting("ROWS", 4_000_000);
    let batches: Vec<Batch> = (0..rows / RECIPIENTS).map(|n| batch(&schema, n)).collect();
    let tables: Vec<RecordBatch> =
        batches.iter().map(|b| schema.to_table(b.first, b.time, &b.rows).expect("rows of the schema")).collect();
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..setting("ROUNDS", 5) {
        bare.push(timed(rows, || bare_loop(&schema, &tables)));
        ours.push(timed(rows, || sink(&schema, &batches)));
    }
    let ((bare_ns, _), (ours_ns, bytes)) = (median(bare), median(ours));
    println!("| bare parquet loop | sink | sink / bare | bytes a row |\n|---|---|---|---|");
    println!(
        "| {bare_ns:.0} ns a row | {ours_ns:.0} ns a row | {:.0}% of its rows/s | {:.2} |",
        bare_ns / ours_ns * 100.0,
        bytes as f64 / rows as f64
    );
}

/// Returns the rows of one broadcast with their append time.
fn batch(schema: &TopicSchema, message: usize) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_value(message as i64, RECIPIENTS)),
        Arc::new(Int64Array::from_iter_values(0..RECIPIENTS as i64)),
        Arc::new(StringArray::from_iter_values((0..RECIPIENTS).map(|n| (100_000 + n).to_string()))),
        Arc::new(Int8Array::from_value(0, RECIPIENTS)),
        Arc::new(Int32Array::from_value(200 + (message % 100) as i32, RECIPIENTS)),
    ];
    let rows = RecordBatch::try_new(schema.columns().clone(), columns).expect("the columns of a delivery");
    Batch {
        first: (message * RECIPIENTS) as u64,
        time: 1_800_000_000_000_000 + message as i64 * 900,
        digest: message as u32,
        rows,
    }
}

fn timed(rows: usize, work: impl FnOnce() -> usize) -> (f64, usize) {
    let started = Instant::now();
    let bytes = work();
    (started.elapsed().as_nanos() as f64 / rows as f64, bytes)
}

fn median(mut values: Vec<(f64, usize)>) -> (f64, usize) {
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    values[values.len() / 2]
}

fn bare_loop(schema: &TopicSchema, tables: &[RecordBatch]) -> usize {
    let mut writer = ArrowWriter::try_new(
        Vec::new(),
        schema.table().clone(),
        Some(properties(schema.table(), Encodings::default())),
    )
    .expect("a writer");
    tables.iter().for_each(|rows| writer.write(rows).expect("rows of the schema"));
    writer.into_inner().expect("a file").len()
}

fn sink(schema: &Arc<TopicSchema>, batches: &[Batch]) -> usize {
    let mut encoder = Encoder::new(schema.clone(), Encodings::default()).expect("an encoder");
    batches.iter().for_each(|batch| encoder.add(batch).expect("rows of the schema"));
    let (first, last) = (&batches[0], &batches[batches.len() - 1]);
    let span = Span { end: last.end(), ..Span::of(first, first.time, tokio::time::Instant::now()) };
    encoder.finish(&span, &Shard::new("bench", 1)).expect("a file").bytes.len()
}
