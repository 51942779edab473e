//! Collects rows that were published singly into one batch.

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, Field, SchemaRef};
use serde_arrow::ArrayBuilder;
use serde_arrow::marrow::array::Array;
use std::sync::Arc;

/// An open batch. A row that fails half-way does not affect its neighbours.
///
/// `ArrayBuilder::push` is not transactional: a row that fails leaves values in the columns before the bad one, and may
/// leave list offsets without their elements. This type counts the complete rows; after a failure, or a panic in the
/// row's `Serialize`, it cuts off everything behind them.
pub(super) struct OpenRows {
    builder: ArrayBuilder,
    schema: SchemaRef,
    rows: usize,
    torn: bool,
}

impl OpenRows {
    /// Creates an empty batch of `schema`.
    pub(super) fn new(schema: &SchemaRef) -> Result<Self, serde_arrow::Error> {
        Ok(Self { builder: builder(schema)?, schema: schema.clone(), rows: 0, torn: false })
    }

    /// The number of complete rows.
    pub(super) fn len(&self) -> usize {
        self.rows
    }

    /// Whether a row failed half-way. The batch must then be finished before the next row is added.
    pub(super) fn is_torn(&self) -> bool {
        self.torn
    }

    /// Lets `push` add one row.
    pub(super) fn push(
        &mut self,
        push: &mut dyn FnMut(&mut ArrayBuilder) -> serde_arrow::Result<()>,
    ) -> serde_arrow::Result<()> {
        debug_assert!(!self.torn, "a torn batch must be finished first");
        self.torn = true;
        push(&mut self.builder)?;
        self.torn = false;
        self.rows += 1;
        Ok(())
    }

    /// Returns the complete rows as a batch, and starts a new one.
    pub(super) fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        let (rows, torn) = (std::mem::take(&mut self.rows), std::mem::take(&mut self.torn));
        let arrays = self.builder.to_marrow().map_err(|e| ArrowError::ExternalError(Box::new(e)))?;
        let columns = arrays.into_iter().map(|array| match torn {
            true => Ok(to_arrow(cut_list(array, rows))?.slice(0, rows)),
            false => to_arrow(array),
        });
        RecordBatch::try_new(self.schema.clone(), columns.collect::<Result<_, ArrowError>>()?)
    }
}

/// Creates a builder without the fields' metadata, which it would copy for every batch.
fn builder(schema: &SchemaRef) -> Result<ArrayBuilder, serde_arrow::Error> {
    let plain = |f: &Arc<Field>| Arc::new(Field::new(f.name(), f.data_type().clone(), f.is_nullable()));
    ArrayBuilder::from_arrow(&schema.fields().iter().map(plain).collect::<Vec<_>>())
}

fn to_arrow(array: Array) -> Result<ArrayRef, ArrowError> {
    ArrayRef::try_from(array).map_err(|e| ArrowError::ExternalError(Box::new(e)))
}

/// Cuts off the list offsets after the first `rows`: they may point past the elements.
fn cut_list(array: Array, rows: usize) -> Array {
    match array {
        Array::List(mut list) => {
            list.offsets.truncate(rows + 1);
            Array::List(list)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use greyhound_sdk::TopicSchema;
    use serde_json::{Value, json};

    const AVRO: &str = r#"{"type": "record", "name": "visit", "fields": [
        {"name": "id", "type": "long"},
        {"name": "user", "type": ["null", "string"], "default": null},
        {"name": "rooms", "type": {"type": "array", "items": "string"}},
        {"name": "age", "type": "int"},
        {"name": "known", "type": ["null", "boolean"], "default": null}]}"#;

    fn open() -> OpenRows {
        OpenRows::new(TopicSchema::from_avro(AVRO).unwrap().columns()).unwrap()
    }

    fn good(id: i64) -> Value {
        json!({"id": id, "user": "u", "rooms": ["a", format!("room {id}")], "age": 7, "known": true})
    }

    #[test]
    fn a_bad_row_does_not_affect_its_neighbours() {
        let bad = [
            json!({"id": 9}),
            json!({"id": "nine", "rooms": [], "age": 1}),
            json!({"id": 9, "user": [], "rooms": [], "age": 1}),
            json!({"id": 9, "user": null, "rooms": ["a", ["b"]], "age": 1}),
            json!({"id": 9, "user": "x", "rooms": ["a", null], "age": 1}),
            json!({"id": 9, "user": "x", "rooms": ["a", "b"], "age": 1_i64 << 40}),
            json!({"id": 9, "user": "x", "rooms": 5, "age": 1}),
            json!({"id": 9, "user": "x", "rooms": ["a"], "age": 1, "known": "yes"}),
            json!("not a record"),
        ];
        for bad in bad {
            for before in [0, 1, 9] {
                let mut rows = open();
                (0..before).for_each(|id| rows.push(&mut |b| b.push(good(id))).unwrap());
                assert!(rows.push(&mut |b| b.push(&bad)).is_err(), "{bad}");
                assert!(rows.is_torn());
                let whole = rows.finish().unwrap_or_else(|e| panic!("{bad} after {before}: {e}"));
                let expected: Vec<Value> = (0..before).map(good).collect();
                assert_eq!(serde_arrow::from_record_batch::<Vec<Value>>(&whole).unwrap(), expected, "{bad}");
                rows.push(&mut |b| b.push(good(4))).unwrap();
                let next = rows.finish().unwrap();
                assert_eq!(serde_arrow::from_record_batch::<Vec<Value>>(&next).unwrap(), [good(4)]);
            }
        }
    }

    #[test]
    fn batches_have_the_topic_s_own_schema() {
        for avro in [
            include_str!("../../schemas/greyhound.gap.avsc"),
            include_str!("../../schemas/greyhound.sink.avsc"),
            include_str!("../../schemas/messaging.auth.avsc"),
            include_str!("../../schemas/messaging.connection.avsc"),
            include_str!("../../schemas/messaging.delivery.avsc"),
            include_str!("../../schemas/messaging.message.avsc"),
            include_str!("../../schemas/messaging.push.avsc"),
        ] {
            let schema = TopicSchema::from_avro(avro).unwrap();
            let batch = OpenRows::new(schema.columns()).unwrap().finish().unwrap();
            assert_eq!(batch.schema(), *schema.columns());
        }
    }
}
