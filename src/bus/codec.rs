//! Batches as the log holds them: one Arrow IPC record batch message, without its schema.
//!
//! The schema is left out because the log keeps it once, under its fingerprint. Buffers are aligned to 8
//! bytes, not to the usual 64: the frames of single rows would otherwise be mostly padding.

use arrow_array::RecordBatch;
use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions, write_message};
use arrow_ipc::{MetadataVersion, reader, root_as_message};
use arrow_schema::{ArrowError, SchemaRef};
use bytes::Bytes;
use std::collections::HashMap;

const ALIGNMENT: usize = 8;
/// Before the metadata stand a marker of four bytes and its length.
const PREFIX: usize = 8;

/// Encodes batches; keeps its scratch space.
pub(super) struct Encoder {
    options: IpcWriteOptions,
    context: IpcWriteContext,
}

impl Encoder {
    pub(super) fn new() -> Self {
        let options =
            IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5).expect("8 is an alignment that IPC has");
        Self { options, context: IpcWriteContext::default() }
    }

    /// The batch as one message. Columns cannot be dictionaries: no topic has any.
    pub(super) fn encode(&mut self, batch: &RecordBatch) -> Result<Bytes, ArrowError> {
        let mut dictionaries = DictionaryTracker::new(false);
        let (_, message) =
            IpcDataGenerator::default().encode(batch, &mut dictionaries, &self.options, &mut self.context)?;
        let mut bytes = Vec::with_capacity(PREFIX + ALIGNMENT + message.ipc_message.len() + message.arrow_data.len());
        write_message(&mut bytes, message, &self.options)?;
        Ok(bytes.into())
    }
}

/// The batch of a message that [`Encoder::encode`] made of rows of `schema`. Its columns share the memory of
/// `message` where that is aligned.
pub(super) fn decode(message: &Bytes, schema: SchemaRef) -> Result<RecordBatch, ArrowError> {
    let broken = |why: &str| ArrowError::IpcError(why.to_owned());
    let length = message.get(PREFIX - 4..PREFIX).ok_or_else(|| broken("the message has no prefix"))?;
    let length = u32::from_le_bytes(length.try_into().expect("a slice of four bytes")) as usize;
    let metadata = message.get(PREFIX..PREFIX + length).ok_or_else(|| broken("the message's metadata is cut"))?;
    let header = root_as_message(metadata).map_err(|e| ArrowError::IpcError(e.to_string()))?;
    let batch = header.header_as_record_batch().ok_or_else(|| broken("the message is not a record batch"))?;
    let body = message.slice(PREFIX + length..);
    if usize::try_from(header.bodyLength()) != Ok(body.len()) {
        return Err(broken("the message's body is cut"));
    }
    reader::read_record_batch(&body.into(), batch, schema, &HashMap::new(), None, &header.version())
}

#[cfg(test)]
mod tests {
    use super::*;
    use greyhound_sdk::TopicSchema;
    use proptest::prelude::*;
    use serde::Serialize;

    const AVRO: &str = r#"{"type": "record", "namespace": "shop", "name": "order", "fields": [
        {"name": "state", "type": {"type": "enum", "name": "state", "symbols": ["open", "paid"]}},
        {"name": "buyer", "type": ["null", "string"], "default": null},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
        {"name": "due", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "blob", "type": ["null", "bytes"], "default": null},
        {"name": "paid", "type": "boolean"},
        {"name": "price", "type": ["null", "double"], "default": null}]}"#;

    #[derive(Serialize, Clone, Debug)]
    struct Order {
        state: i8,
        buyer: Option<String>,
        tags: Vec<String>,
        due: i64,
        blob: Option<Vec<u8>>,
        paid: bool,
        price: Option<f64>,
    }

    fn orders() -> impl Strategy<Value = Vec<Order>> {
        let order = (
            0..2i8,
            any::<Option<String>>(),
            any::<Vec<String>>(),
            any::<i64>(),
            any::<Option<Vec<u8>>>(),
            any::<bool>(),
            any::<Option<f64>>(),
        );
        let order = order.prop_map(|(state, buyer, tags, due, blob, paid, price)| Order {
            state,
            buyer,
            tags,
            due,
            blob,
            paid,
            price,
        });
        proptest::collection::vec(order, 0..20)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_batch_survives_its_encoding(orders in orders(), cut in 0..20usize, shift in 0..8usize) {
            let schema = TopicSchema::from_avro(AVRO).unwrap();
            let rows = serde_arrow::to_arrow(schema.columns().fields(), &orders).unwrap();
            let rows = RecordBatch::try_new(schema.columns().clone(), rows).unwrap();
            let from = cut.min(rows.num_rows());
            let slice = rows.slice(from, rows.num_rows() - from);
            let message = Encoder::new().encode(&slice).unwrap();
            prop_assert_eq!(message.len() % ALIGNMENT, 0);
            // As it may lie in the middle of a segment's bytes.
            let shifted = Bytes::from([&vec![0; shift], &message[..]].concat()).slice(shift..);
            prop_assert_eq!(decode(&shifted, schema.columns().clone()).unwrap(), slice);
        }

        #[test]
        fn a_message_cut_short_is_an_error(orders in orders(), cut in any::<prop::sample::Index>()) {
            let schema = TopicSchema::from_avro(AVRO).unwrap();
            let rows = serde_arrow::to_arrow(schema.columns().fields(), &orders).unwrap();
            let rows = RecordBatch::try_new(schema.columns().clone(), rows).unwrap();
            let message = Encoder::new().encode(&rows).unwrap();
            prop_assert!(decode(&message.slice(..cut.index(message.len())), schema.columns().clone()).is_err());
        }
    }
}
