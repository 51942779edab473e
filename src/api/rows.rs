//! Rows as JSON.

use arrow_schema::{DataType, Field};
use greyhound_sdk::{Batch, Shard, TopicSchema};
use serde_json::{Map, Value};
use std::time::{Duration, UNIX_EPOCH};

/// The first `limit` rows of `batch`, a JSON object a line, in the table's order: `seq`, `time`, the topic's columns,
/// `shard`; enums as text, times in ISO 8601.
///
/// # Errors
/// Where the batch is not of this schema.
pub(super) fn lines(schema: &TopicSchema, shard: &Shard, batch: &Batch, limit: usize) -> Result<Vec<String>, String> {
    let rows = batch.rows.slice(0, batch.rows.num_rows().min(limit));
    let table = schema.to_table(batch.first, batch.time, &rows).map_err(|e| e.to_string())?;
    let rows: Vec<Map<String, Value>> = serde_arrow::from_record_batch(&table).map_err(|e| e.to_string())?;
    Ok(rows.iter().map(|row| line(schema, shard, row)).collect())
}

fn line(schema: &TopicSchema, shard: &Shard, row: &Map<String, Value>) -> String {
    let shard = Value::from(shard.as_str());
    let column = |name: &str, value: &Value| format!("{}:{value}", Value::from(name));
    let columns = schema.table().fields().iter().map(|field| column(field.name(), &shown(field, row.get(field.name()))));
    format!("{{{}}}\n", columns.chain([column("shard", &shard)]).collect::<Vec<_>>().join(","))
}

/// A value, where it is a time as text.
fn shown(field: &Field, value: Option<&Value>) -> Value {
    let micros = value.and_then(Value::as_u64).filter(|_| matches!(field.data_type(), DataType::Timestamp(..)));
    match micros {
        Some(micros) => humantime::format_rfc3339_micros(UNIX_EPOCH + Duration::from_micros(micros)).to_string().into(),
        None => value.cloned().unwrap_or_default(),
    }
}
