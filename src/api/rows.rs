//! Rows as JSON.

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field};
use greyhound_sdk::schema::symbols;
use greyhound_sdk::validity::TIME_RANGE;
use greyhound_sdk::{Batch, Shard, TopicSchema};
use serde_json::{Map, Value};
use std::time::{Duration, UNIX_EPOCH};

/// The last microsecond of the year 9999.
const TIME_MAX: i64 = TIME_RANGE.1;

/// Converts JSON rows to a batch. Enums are given by name or by index, times in ISO 8601 or in microseconds.
///
/// # Errors
/// The fault of the first row that does not fit.
pub(super) fn batch(schema: &TopicSchema, mut rows: Vec<Map<String, Value>>) -> Result<RecordBatch, String> {
    let fields = schema.columns().fields();
    let enums: Vec<_> = fields.iter().filter_map(|field| Some((field.name().as_str(), symbols(field)?))).collect();
    for (at, row) in rows.iter_mut().enumerate() {
        if let Some(unknown) = row.keys().find(|name| schema.columns().index_of(name).is_err()) {
            let known: Vec<_> = fields.iter().map(|field| field.name().as_str()).collect();
            return Err(format!("row {at}: unknown column `{unknown}`; expected {}", known.join(", ")));
        }
        for (name, symbols) in &enums {
            let Some(value) = row.get_mut(*name) else { continue };
            let Value::String(symbol) = &*value else { continue };
            let index = symbols.iter().position(|it| it == symbol);
            let index = index
                .ok_or_else(|| format!("row {at}, column `{name}`: `{symbol}` is not one of {}", symbols.join(", ")))?;
            *value = index.into();
        }
        for field in fields.iter().filter(|field| matches!(field.data_type(), DataType::Timestamp(..))) {
            let Some(value) = row.get_mut(field.name()) else { continue };
            if value.is_number() {
                // The builder of a time column does not accept unsigned numbers, which serde_json uses.
                let micros = value.as_i64().filter(|micros| *micros <= TIME_MAX);
                let micros = micros.ok_or_else(|| {
                    format!("row {at}, column `{}`: {value} is not a time before the year 10000", field.name())
                })?;
                *value = time(micros).map_or_else(|| micros.into(), Value::from);
            }
        }
    }
    serde_arrow::to_record_batch(fields, &rows).map_err(|e| e.to_string())
}

/// Converts the first `limit` rows of `batch` to lines, each a JSON object with `seq`, `time`, the topic's columns and
/// `shard`, in this order. Enums are texts, times are in ISO 8601.
///
/// # Errors
/// If the batch does not have this schema.
pub(super) fn lines(schema: &TopicSchema, shard: &Shard, batch: &Batch, limit: usize) -> Result<Vec<String>, String> {
    let rows = batch.rows.slice(0, batch.rows.num_rows().min(limit));
    let table = schema.to_table(batch.first, batch.time, &rows).map_err(|e| e.to_string())?;
    let rows: Vec<Map<String, Value>> = serde_arrow::from_record_batch(&table).map_err(|e| e.to_string())?;
    Ok(rows.iter().map(|row| line(schema, shard, row)).collect())
}

fn line(schema: &TopicSchema, shard: &Shard, row: &Map<String, Value>) -> String {
    let shard = Value::from(shard.as_str());
    let column = |name: &str, value: &Value| format!("{}:{value}", Value::from(name));
    let columns =
        schema.table().fields().iter().map(|field| column(field.name(), &shown(field, row.get(field.name()))));
    format!("{{{}}}\n", columns.chain([column("shard", &shard)]).collect::<Vec<_>>().join(","))
}

/// Returns a value, with times as text.
fn shown(field: &Field, value: Option<&Value>) -> Value {
    let micros = value.and_then(Value::as_i64).filter(|_| matches!(field.data_type(), DataType::Timestamp(..)));
    micros.and_then(time).map_or_else(|| value.cloned().unwrap_or_default(), Value::from)
}

/// Formats a time in ISO 8601; `None` before 1970 and after 9999.
fn time(micros: i64) -> Option<String> {
    let micros = u64::try_from(micros).ok().filter(|_| micros <= TIME_MAX)?;
    Some(humantime::format_rfc3339_micros(UNIX_EPOCH + Duration::from_micros(micros)).to_string())
}
