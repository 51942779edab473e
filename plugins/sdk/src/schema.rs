//! A topic's schema: written in Avro, carried as Arrow, read as a table.
//!
//! | Avro | on the bus (Arrow) | in a table (Parquet) |
//! |---|---|---|
//! | `string`, `bytes`, `boolean`, `int`, `long`, `double` | the same | the same |
//! | `timestamp-micros` | `Timestamp(µs, UTC)` | `TIMESTAMP(MICROS, UTC)` |
//! | `array` of the above | `List` | `LIST` |
//! | `enum` | `Int8`: the symbol's place, one byte a row | the symbol, as text |
//! | union with `null` | nullable | nullable |
//!
//! A table has two columns more than its schema: `seq` and `time` stand first.
//!
//! Names are Avro's, so that other languages can read the schema, and differ in more than case, because engines take no
//! notice of it.
//!
//! The `doc` of a field is what analysts read in the data dictionary: its meaning, then `Unit: ...`, then `Null: ...`,
//! which says when it is null.

use arrow_array::{
    Array, ArrayRef, DictionaryArray, Int8Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    new_null_array, types::Int8Type,
};
use arrow_avro::reader::ReaderBuilder;
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::Arc;

/// The metadata key of a field that is an enum: its symbols, as a JSON array.
pub const SYMBOLS: &str = "greyhound.symbols";
/// The metadata key of a field's or schema's documentation.
pub const DOC: &str = "greyhound.doc";
/// The columns that every table has, those that come from the path too.
const OF_EVERY_TABLE: [&str; 5] = ["seq", "time", "dt", "hour", "shard"];
const NAME: &str = "expected a name of letters (A to Z, a to z), digits and `_`, which does not begin with a digit";

/// The schema of one topic.
#[derive(Debug, Clone)]
pub struct TopicSchema {
    name: String,
    doc: String,
    avro: String,
    fingerprint: u64,
    pub(crate) columns: SchemaRef,
    table: SchemaRef,
    /// By column: the symbols of an enum, one array for all batches, so that batches are joined without comparing them.
    pub(crate) symbols: Vec<Option<ArrayRef>>,
    is_open: bool,
}

/// An Avro schema that a topic cannot have.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// Not an Avro record schema.
    #[error("schema {name}: {why}")]
    Invalid {
        /// Its full name, as far as it could be read.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// A new version of a schema that old rows cannot be read with.
    #[error(
        "schema {name}: field `{field}` {change}; only nullable fields may be added (at the end), nothing removed or changed"
    )]
    Incompatible {
        /// The schema's full name.
        name: String,
        /// The offending field.
        field: String,
        /// What was changed.
        change: String,
    },
}

#[derive(Deserialize)]
struct AvroRecord {
    name: String,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    doc: String,
    fields: Vec<AvroField>,
}

#[derive(Deserialize)]
struct AvroField {
    name: String,
    #[serde(default)]
    doc: String,
}

// === impl TopicSchema ===

impl TopicSchema {
    /// Reads an Avro record schema (JSON text). Its full name is the topic's.
    ///
    /// # Errors
    /// [`SchemaError::Invalid`] where it is not one, or uses a type that no column can have.
    pub fn from_avro(avro: &str) -> Result<Self, SchemaError> {
        let invalid = |name: &str, why: String| SchemaError::Invalid { name: name.to_owned(), why };
        let record: AvroRecord = serde_json::from_str(avro).map_err(|e| invalid("?", e.to_string()))?;
        let name = match record.namespace.as_ref().filter(|it| !it.is_empty()) {
            Some(namespace) => format!("{namespace}.{}", record.name),
            None => record.name.clone(),
        };
        check_names(&name, &record.fields).map_err(|why| invalid(&name, why))?;
        let parsed = AvroSchema::new(avro.to_owned());
        let fingerprint = match parsed.fingerprint(FingerprintAlgorithm::Rabin) {
            Ok(Fingerprint::Rabin(it)) => it,
            Ok(_) => unreachable!("a Rabin fingerprint was asked for"),
            Err(e) => return Err(invalid(&name, e.to_string())),
        };
        let arrow = arrow_schema(parsed).map_err(|e| invalid(&name, e.to_string()))?;
        let fields = arrow
            .fields()
            .iter()
            .zip(&record.fields)
            .map(|(field, avro)| column(field, &avro.doc))
            .collect::<Result<Vec<_>, _>>();
        let fields = fields.map_err(|(field, why)| invalid(&name, format!("field `{field}`: {why}")))?;
        debug_assert_eq!(fields.len(), record.fields.len());
        let doc = HashMap::from([(DOC.to_owned(), record.doc.clone())]);
        let table = Schema::new_with_metadata(table_fields(&fields), doc.clone());
        let texts = |f: &FieldRef| symbols(f).map(|all| Arc::new(StringArray::from_iter_values(all)) as ArrayRef);
        Ok(Self {
            symbols: fields.iter().map(texts).collect(),
            name,
            doc: record.doc,
            avro: avro.to_owned(),
            fingerprint,
            columns: Arc::new(Schema::new_with_metadata(fields, doc)),
            table: Arc::new(table),
            is_open: false,
        })
    }

    /// The same topic, declared open: whoever the admin listener admits may publish to it. Without this, only plugins
    /// do.
    #[must_use]
    pub fn open(self) -> Self {
        Self { is_open: true, ..self }
    }

    /// Whether it is declared open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// The topic's name, such as `messaging.delivery`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What a row of it is.
    #[must_use]
    pub fn doc(&self) -> &str {
        &self.doc
    }

    /// The schema as it was written.
    #[must_use]
    pub fn avro(&self) -> &str {
        &self.avro
    }

    /// The Rabin fingerprint of the schema's canonical form (Avro specification): names a version.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The columns as a publisher gives them.
    #[must_use]
    pub fn columns(&self) -> &SchemaRef {
        &self.columns
    }

    /// The columns of the table: `seq`, `time`, then the topic's, enums as text.
    #[must_use]
    pub fn table(&self) -> &SchemaRef {
        &self.table
    }

    /// The place of an enum's `symbol` in column `field`; `None` where there is none.
    #[must_use]
    pub fn symbol(&self, field: &str, symbol: &str) -> Option<i8> {
        let symbols = symbols(self.columns.field_with_name(field).ok()?)?;
        i8::try_from(symbols.iter().position(|s| s == symbol)?).ok()
    }

    /// Rows of the bus as rows of the table: numbers from `first`, all with the time of append `time` (microseconds
    /// since 1970 UTC). Copies no column of the batch; columns that an older schema did not have are null.
    ///
    /// # Errors
    /// Where `rows` are not of this schema.
    pub fn to_table(&self, first: u64, time: i64, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let count = rows.num_rows();
        let first = i64::try_from(first).map_err(|e| ArrowError::ComputeError(e.to_string()))?;
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(rows.num_columns() + 2);
        columns.push(Arc::new(Int64Array::from_iter_values((0..count as i64).map(|i| first + i))));
        columns.push(Arc::new(TimestampMicrosecondArray::from_value(time, count).with_timezone("UTC")));
        for (symbols, column) in self.symbols.iter().zip(rows.columns()) {
            columns.push(match symbols {
                Some(symbols) => as_text(column, symbols)?,
                None => column.clone(),
            });
        }
        for added in self.table.fields().iter().skip(columns.len()) {
            columns.push(new_null_array(added.data_type(), count));
        }
        RecordBatch::try_new(self.table.clone(), columns)
    }

    /// Checks that rows of `old` can be read with this schema: fields may only be added at the end, and
    /// only nullable ones; an enum may only gain symbols at the end.
    ///
    /// # Errors
    /// [`SchemaError::Incompatible`] with the first field that breaks this.
    pub fn check_successor_of(&self, old: &TopicSchema) -> Result<(), SchemaError> {
        let broken = |field: &str, change: &str| {
            Err(SchemaError::Incompatible {
                name: self.name.clone(),
                field: field.to_owned(),
                change: change.to_owned(),
            })
        };
        for (at, was) in old.columns.fields().iter().enumerate() {
            let Some(is) = self.columns.fields().get(at).filter(|is| is.name() == was.name()) else {
                let moved = self.columns.field_with_name(was.name()).is_ok();
                return broken(was.name(), if moved { "was moved" } else { "was removed" });
            };
            if is.data_type() != was.data_type() {
                return broken(was.name(), &format!("was {} and is now {}", was.data_type(), is.data_type()));
            }
            if was.is_nullable() && !is.is_nullable() {
                return broken(was.name(), "was nullable and no longer is");
            }
            match (symbols(was), symbols(is)) {
                (None, None) => {}
                (Some(was), Some(is)) if is.starts_with(&was) => {}
                _ => return broken(was.name(), "lost or moved a symbol"),
            }
        }
        match self.columns.fields()[old.columns.fields().len()..].iter().find(|f| !f.is_nullable()) {
            Some(added) => broken(added.name(), "was added and is not nullable"),
            None => Ok(()),
        }
    }
}

/// The symbols of an enum's column.
#[must_use]
pub fn symbols(field: &Field) -> Option<Vec<String>> {
    serde_json::from_str(field.metadata().get(SYMBOLS)?).ok()
}

/// Checks the names of a topic and of its fields.
fn check_names(topic: &str, fields: &[AvroField]) -> Result<(), String> {
    if topic.starts_with('_') {
        return Err("the name begins with `_`: engines do not see such a directory".to_owned());
    }
    if let Some(part) = topic.split('.').find(|part| !is_name(part)) {
        return Err(format!("the name has `{part}` in it: {NAME}"));
    }
    let mut columns: HashMap<String, &str> = OF_EVERY_TABLE.iter().map(|name| ((*name).to_owned(), *name)).collect();
    for AvroField { name, .. } in fields {
        if !is_name(name) {
            return Err(format!("field `{name}`: {NAME}"));
        }
        if let Some(other) = columns.insert(name.to_ascii_lowercase(), name) {
            return Err(format!(
                "field `{name}`: engines do not tell it from the column `{other}`; give it another name"
            ));
        }
    }
    Ok(())
}

/// Whether the Avro specification allows a name, without its namespace.
fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// What arrow-avro makes of a schema, by way of a decoder, which is where it tells.
fn arrow_schema(avro: AvroSchema) -> Result<SchemaRef, ArrowError> {
    let mut store = SchemaStore::new();
    let fingerprint = store.register(avro)?;
    let decoder =
        ReaderBuilder::new().with_writer_schema_store(store).with_active_fingerprint(fingerprint).build_decoder()?;
    Ok(decoder.schema())
}

/// A column of the bus: no Avro metadata, times in UTC, enums as the place of their symbol.
fn column(field: &FieldRef, doc: &str) -> Result<FieldRef, (String, String)> {
    let mut metadata = HashMap::from([(DOC.to_owned(), doc.to_owned())]);
    let data_type = match field.data_type() {
        DataType::Dictionary(..) => {
            let symbols = field.metadata().get("avro.enum.symbols").cloned().unwrap_or_default();
            let all: Vec<String> = serde_json::from_str(&symbols).unwrap_or_default();
            if !(1..=127).contains(&all.len()) {
                return Err((field.name().clone(), format!("an enum must have 1 to 127 symbols, not {}", all.len())));
            }
            if let Some(odd) = all.iter().find(|symbol| !is_name(symbol)) {
                return Err((field.name().clone(), format!("the symbol `{odd}`: {NAME}")));
            }
            metadata.insert(SYMBOLS.to_owned(), symbols);
            DataType::Int8
        }
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
        }
        DataType::List(item) if is_plain(item.data_type()) => {
            DataType::List(Arc::new(Field::new("element", item.data_type().clone(), item.is_nullable())))
        }
        plain if is_plain(plain) => plain.clone(),
        other => return Err((field.name().clone(), format!("a column cannot be of type {other}"))),
    };
    Ok(Arc::new(Field::new(field.name(), data_type, field.is_nullable()).with_metadata(metadata)))
}

fn is_plain(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::Binary | DataType::Boolean | DataType::Int32 | DataType::Int64 | DataType::Float64
    )
}

fn table_fields(columns: &[FieldRef]) -> Vec<FieldRef> {
    let doc = |text: &str| HashMap::from([(DOC.to_owned(), text.to_owned())]);
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let seq = Field::new("seq", DataType::Int64, false)
        .with_metadata(doc("The row's number in its shard: dense but for the ranges in `greyhound.gap`."));
    let time = Field::new("time", utc, false).with_metadata(doc(
        "When the row was appended to the bus. Never falls within a shard. Unit: microseconds, UTC.",
    ));
    let text = || DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
    let columns = columns.iter().map(|f| match f.metadata().contains_key(SYMBOLS) {
        true => Arc::new(f.as_ref().clone().with_data_type(text())),
        false => f.clone(),
    });
    [Arc::new(seq), Arc::new(time)].into_iter().chain(columns).collect()
}

fn as_text(column: &ArrayRef, symbols: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let places = column
        .as_any()
        .downcast_ref::<Int8Array>()
        .ok_or_else(|| ArrowError::SchemaError(format!("an enum's column must be Int8, not {}", column.data_type())))?;
    Ok(Arc::new(DictionaryArray::<Int8Type>::try_new(places.clone(), symbols.clone())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AVRO: &str = r#"{"type": "record", "namespace": "shop", "name": "order", "doc": "An order.", "fields": [
        {"name": "state", "type": {"type": "enum", "name": "state", "symbols": ["open", "paid"]}, "doc": "Its state."},
        {"name": "buyer", "type": ["null", "string"], "default": null, "doc": "Who."},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
        {"name": "due", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "cents", "type": "long"}]}"#;

    #[test]
    fn avro_becomes_columns_and_a_table() {
        let schema = TopicSchema::from_avro(AVRO).unwrap();
        assert_eq!(schema.name(), "shop.order");
        let column = |name: &str| schema.columns().field_with_name(name).unwrap().clone();
        assert_eq!(column("state").data_type(), &DataType::Int8);
        assert_eq!(schema.symbol("state", "paid"), Some(1));
        assert!(column("buyer").is_nullable() && !column("cents").is_nullable());
        assert_eq!(column("due").data_type(), &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));
        assert_eq!(column("buyer").metadata()[DOC], "Who.");
        let names: Vec<_> = schema.table().fields().iter().map(|f| f.name().as_str()).collect();
        assert_eq!(names, ["seq", "time", "state", "buyer", "tags", "due", "cents"]);
    }

    #[test]
    fn rows_become_rows_of_the_table() {
        let schema = TopicSchema::from_avro(AVRO).unwrap();
        #[derive(serde::Serialize)]
        struct Order {
            state: i8,
            buyer: Option<&'static str>,
            tags: Vec<&'static str>,
            due: i64,
            cents: i64,
        }
        let rows = [Order { state: 1, buyer: None, tags: vec!["a"], due: 5, cents: 7 }];
        let batch = serde_arrow::to_record_batch(schema.columns().fields(), &rows).unwrap();
        let table = schema.to_table(41, 1_000_000, &batch).unwrap();
        assert_eq!(table.schema(), *schema.table());
        let state = table.column(2).as_any().downcast_ref::<DictionaryArray<Int8Type>>().unwrap();
        assert_eq!(state.downcast_dict::<StringArray>().unwrap().into_iter().next().unwrap(), Some("paid"));
    }

    #[test]
    fn only_nullable_fields_may_be_added() {
        let old = TopicSchema::from_avro(AVRO).unwrap();
        let check = |from: &str, to: &str| {
            TopicSchema::from_avro(&AVRO.replace(from, to)).unwrap().check_successor_of(&old).map_err(|e| e.to_string())
        };
        check("]}]}", "]}]}").unwrap();
        check(r#""long"}]}"#, r#""long"}, {"name": "note", "type": ["null", "string"], "default": null}]}"#).unwrap();
        check(r#"["open", "paid"]"#, r#"["open", "paid", "lost"]"#).unwrap();
        assert!(
            check(r#""long"}]}"#, r#""long"}, {"name": "note", "type": "string"}]}"#).unwrap_err().contains("`note`")
        );
        assert!(
            check(r#""cents", "type": "long""#, r#""cents", "type": "int""#)
                .unwrap_err()
                .contains("`cents` was Int64 and is now Int32")
        );
        assert!(check("cents", "euros").unwrap_err().contains("`cents` was removed"));
        assert!(check(r#"["open", "paid"]"#, r#"["paid", "open"]"#).unwrap_err().contains("symbol"));
    }

    #[test]
    fn a_bad_schema_is_named() {
        let error = |avro: &str| TopicSchema::from_avro(avro).unwrap_err().to_string();
        for taken in ["seq", "time", "dt", "hour", "shard", "Shard", "buyer", "Buyer"] {
            let why = error(&AVRO.replace("cents", taken));
            assert!(why.contains(&format!("shop.order: field `{taken}`: engines do not tell it from")), "{why}");
        }
        for odd in ["", "a b", "2nd", "a-b", "prix_\u{20ac}", "a.b"] {
            for (place, told) in [
                ("cents", format!("field `{odd}`: expected")),
                ("open", format!("field `state`: the symbol `{odd}`: expected")),
            ] {
                let why = error(&AVRO.replace(place, odd));
                assert!(why.contains(&told), "{why}");
            }
        }
        for (name, told) in [("", "has `` in it"), ("or/der", "has `or/der` in it"), ("..", "has `` in it")] {
            assert!(error(&AVRO.replace(r#""name": "order""#, &format!(r#""name": "{name}""#))).contains(told));
        }
        assert!(error(&AVRO.replace("shop", "_shop")).contains("schema _shop.order: the name begins with `_`"));
        assert!(
            error(&AVRO.replace(r#""type": "long"}]}"#, r#""type": {"type": "map", "values": "int"}}]}"#))
                .contains("`cents`")
        );
        assert!(error("{").contains("schema ?"));
    }
}
