//! Encodes a batch for the log as one Arrow IPC record batch message without its schema.
//!
//! The schema is omitted because the log stores it once, under its fingerprint. Buffers are aligned to 8 bytes instead
//! of the usual 64: otherwise frames of single rows would be mostly padding.

use arrow_array::RecordBatch;
use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions, write_message};
use arrow_ipc::{MetadataVersion, reader, root_as_message};
use arrow_schema::{ArrowError, SchemaRef};
use bytes::Bytes;
use std::collections::HashMap;

const ALIGNMENT_BYTES: usize = 8;
/// A marker of four bytes and the length of the metadata, which follows.
const PREFIX_BYTES: usize = 8;

/// Encodes batches and reuses its scratch space.
pub(super) struct Encoder {
    options: IpcWriteOptions,
    context: IpcWriteContext,
}

impl Encoder {
    pub(super) fn new() -> Self {
        let options = IpcWriteOptions::try_new(ALIGNMENT_BYTES, false, MetadataVersion::V5)
            .expect("IPC supports an alignment of 8 bytes");
        Self { options, context: IpcWriteContext::default() }
    }

    /// Encodes `batch` as one message. It must not have dictionary columns; no topic does.
    pub(super) fn encode(&mut self, batch: &RecordBatch) -> Result<Bytes, ArrowError> {
        let mut dictionaries = DictionaryTracker::new(false);
        let (_, message) =
            IpcDataGenerator::default().encode(batch, &mut dictionaries, &self.options, &mut self.context)?;
        let mut bytes =
            Vec::with_capacity(PREFIX_BYTES + ALIGNMENT_BYTES + message.ipc_message.len() + message.arrow_data.len());
        write_message(&mut bytes, message, &self.options)?;
        Ok(bytes.into())
    }
}

/// Decodes a message that [`Encoder::encode`] made from rows of `schema`. The columns share the memory of `message` if
/// that is aligned.
pub(super) fn decode(message: &Bytes, schema: SchemaRef) -> Result<RecordBatch, ArrowError> {
    let broken = |why: &str| ArrowError::IpcError(why.to_owned());
    let length = message.get(PREFIX_BYTES - 4..PREFIX_BYTES).ok_or_else(|| broken("the message has no prefix"))?;
    let length = u32::from_le_bytes(length.try_into().expect("a slice of four bytes")) as usize;
    let metadata = message
        .get(PREFIX_BYTES..PREFIX_BYTES + length)
        .ok_or_else(|| broken("the message's metadata is truncated"))?;
    let header = root_as_message(metadata).map_err(|e| ArrowError::IpcError(e.to_string()))?;
    let batch = header.header_as_record_batch().ok_or_else(|| broken("the message is not a record batch"))?;
    let body = message.slice(PREFIX_BYTES + length..);
    if usize::try_from(header.bodyLength()) != Ok(body.len()) {
        return Err(broken("the message's body is truncated"));
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
        fn a_batch_survives_encoding(orders in orders(), cut in 0..20usize, shift in 0..8usize) {
            let schema = TopicSchema::from_avro(AVRO).unwrap();
            let rows = serde_arrow::to_arrow(schema.columns().fields(), &orders).unwrap();
            let rows = RecordBatch::try_new(schema.columns().clone(), rows).unwrap();
            let from = cut.min(rows.num_rows());
            let slice = rows.slice(from, rows.num_rows() - from);
            let message = Encoder::new().encode(&slice).unwrap();
            prop_assert_eq!(message.len() % ALIGNMENT_BYTES, 0);
            // The message may be at any place in a segment's bytes.
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
