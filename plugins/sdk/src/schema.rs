//! The schema of a topic: declared in Avro, carried as Arrow, stored as a table.
//!
//! | Avro | on the bus (Arrow) | in a table (Parquet) |
//! |---|---|---|
//! | `string`, `bytes`, `boolean`, `int`, `long`, `double` | the same | the same |
//! | `timestamp-micros` | `Timestamp(µs, UTC)` | `TIMESTAMP(MICROS, UTC)` |
//! | `array` of the above | `List` | `LIST` |
//! | `enum` | `Int8`: the symbol's index, one byte per row | the symbol, as text |
//! | union with `null` | nullable | nullable |
//!
//! A table has two more columns than its schema: `seq` and `time`, which come first.
//!
//! Names must be valid in Avro, so that other languages can read the schema, and must differ in more than case, because
//! engines ignore case.
//!
//! Analysts read the `doc` of a field in the data dictionary: its meaning, then `Unit: ...`, then `Null: ...`, which
//! says when it is null.

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

/// The metadata key of an enum field's symbols, a JSON array.
pub const SYMBOLS: &str = "greyhound.symbols";
/// The metadata key of a field's or schema's documentation.
pub const DOC: &str = "greyhound.doc";
/// The columns that every table has, including those taken from the path.
const TABLE_COLUMNS: [&str; 5] = ["seq", "time", "dt", "hour", "shard"];
const EXPECTED_NAME: &str =
    "expected a name of letters (A to Z, a to z), digits and `_` that does not begin with a digit";

/// The schema of one topic.
#[derive(Debug, Clone)]
pub struct TopicSchema {
    name: String,
    doc: String,
    avro: String,
    fingerprint: u64,
    pub(crate) columns: SchemaRef,
    table: SchemaRef,
    /// By column: the symbols of an enum. All batches share one array, so that batches are joined without comparing
    /// symbols.
    pub(crate) symbols: Vec<Option<ArrayRef>>,
    is_open: bool,
}

/// Why an Avro schema cannot be used for a topic.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The schema is not an Avro record schema, or has a type or name that a table cannot have.
    #[error("schema {name}: {why}")]
    Invalid {
        /// Its full name, or `?` if it could not be read.
        name: String,
        /// The fault.
        why: String,
    },
    /// Old rows cannot be read with a new version of the schema.
    #[error(
        "schema {name}: field `{field}` {change}; only nullable fields may be added, at the end, and nothing may be removed or changed"
    )]
    Incompatible {
        /// The schema's full name.
        name: String,
        /// The offending field.
        field: String,
        /// The change.
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
    /// Parses an Avro record schema (JSON text). Its full name becomes the name of the topic.
    ///
    /// # Errors
    /// [`SchemaError::Invalid`] if it is not an Avro record schema, or has a type or name that a table cannot have.
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
            Ok(_) => unreachable!("a Rabin fingerprint was requested"),
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

    /// Declares the topic open: every caller that the admin listener accepts may publish to it. Otherwise only plugins
    /// may.
    #[must_use]
    pub fn open(self) -> Self {
        Self { is_open: true, ..self }
    }

    /// Whether the topic is declared open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Returns the topic's name, such as `messaging.delivery`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the topic's documentation: what one row means.
    #[must_use]
    pub fn doc(&self) -> &str {
        &self.doc
    }

    /// Returns the schema as Avro text, as it was declared.
    #[must_use]
    pub fn avro(&self) -> &str {
        &self.avro
    }

    /// Returns the Rabin fingerprint of the schema's canonical form (see the Avro specification), which identifies a
    /// version.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Returns the columns of a publisher's rows.
    #[must_use]
    pub fn columns(&self) -> &SchemaRef {
        &self.columns
    }

    /// Returns the columns of the table: `seq`, `time`, then those of the topic, with enums as text.
    #[must_use]
    pub fn table(&self) -> &SchemaRef {
        &self.table
    }

    /// Returns the index of `symbol` in the enum column `field`; `None` if there is no such column or symbol.
    #[must_use]
    pub fn symbol(&self, field: &str, symbol: &str) -> Option<i8> {
        let symbols = symbols(self.columns.field_with_name(field).ok()?)?;
        i8::try_from(symbols.iter().position(|s| s == symbol)?).ok()
    }

    /// Converts rows of the bus to rows of the table. They get consecutive numbers from `first` and the append time
    /// `time` (microseconds since 1970 UTC). The columns of `rows` are not copied; columns that an older schema did not
    /// have are null.
    ///
    /// # Errors
    /// [`ArrowError`] if `rows` do not have this schema.
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

    /// Checks that rows of the schema `old` can be read with this schema: only nullable fields may be added, at the
    /// end, and an enum may only gain symbols at the end.
    ///
    /// # Errors
    /// [`SchemaError::Incompatible`] for the first field that violates this.
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

/// Returns the symbols of an enum column; `None` for other columns.
#[must_use]
pub fn symbols(field: &Field) -> Option<Vec<String>> {
    serde_json::from_str(field.metadata().get(SYMBOLS)?).ok()
}

/// Checks the names of a topic and of its fields.
fn check_names(topic: &str, fields: &[AvroField]) -> Result<(), String> {
    if topic.starts_with('_') {
        return Err("the name begins with `_`: engines ignore directories with such a name".to_owned());
    }
    if let Some(part) = topic.split('.').find(|part| !is_name(part)) {
        return Err(format!("the name contains `{part}`: {EXPECTED_NAME}"));
    }
    let mut columns: HashMap<String, &str> = TABLE_COLUMNS.iter().map(|name| ((*name).to_owned(), *name)).collect();
    for AvroField { name, .. } in fields {
        if !is_name(name) {
            return Err(format!("field `{name}`: {EXPECTED_NAME}"));
        }
        if let Some(other) = columns.insert(name.to_ascii_lowercase(), name) {
            return Err(format!(
                "field `{name}`: engines ignore case, so its name clashes with the column `{other}`; rename it"
            ));
        }
    }
    Ok(())
}

/// Whether the Avro specification allows the name, which has no namespace.
fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Converts an Avro schema to Arrow. arrow-avro exposes the result only through a decoder.
fn arrow_schema(avro: AvroSchema) -> Result<SchemaRef, ArrowError> {
    let mut store = SchemaStore::new();
    let fingerprint = store.register(avro)?;
    let decoder =
        ReaderBuilder::new().with_writer_schema_store(store).with_active_fingerprint(fingerprint).build_decoder()?;
    Ok(decoder.schema())
}

/// Returns the column of the bus for a field: without Avro metadata, times in UTC, enums as the index of their symbol.
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
                return Err((field.name().clone(), format!("symbol `{odd}`: {EXPECTED_NAME}")));
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
        other => return Err((field.name().clone(), format!("columns of type {other} are not supported"))),
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
        .with_metadata(doc("The row's number in its shard. Consecutive, except for the ranges in `greyhound.gap`."));
    let time = Field::new("time", utc, false).with_metadata(doc(
        "When the row was appended to the bus. Never decreases within a shard. Unit: microseconds, UTC.",
    ));
    let text = || DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
    let columns = columns.iter().map(|f| match f.metadata().contains_key(SYMBOLS) {
        true => Arc::new(f.as_ref().clone().with_data_type(text())),
        false => f.clone(),
    });
    [Arc::new(seq), Arc::new(time)].into_iter().chain(columns).collect()
}

fn as_text(column: &ArrayRef, symbols: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let indexes = column
        .as_any()
        .downcast_ref::<Int8Array>()
        .ok_or_else(|| ArrowError::SchemaError(format!("an enum column must be Int8, not {}", column.data_type())))?;
    Ok(Arc::new(DictionaryArray::<Int8Type>::try_new(indexes.clone(), symbols.clone())?))
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
    fn an_invalid_schema_is_reported_with_its_name() {
        let error = |avro: &str| TopicSchema::from_avro(avro).unwrap_err().to_string();
        for taken in ["seq", "time", "dt", "hour", "shard", "Shard", "buyer", "Buyer"] {
            let why = error(&AVRO.replace("cents", taken));
            assert!(
                why.contains(&format!("shop.order: field `{taken}`: engines ignore case, so its name clashes with")),
                "{why}"
            );
        }
        for odd in ["", "a b", "2nd", "a-b", "prix_\u{20ac}", "a.b"] {
            for (place, expected) in [
                ("cents", format!("field `{odd}`: expected")),
                ("open", format!("field `state`: symbol `{odd}`: expected")),
            ] {
                let why = error(&AVRO.replace(place, odd));
                assert!(why.contains(&expected), "{why}");
            }
        }
        for (name, expected) in [("", "contains ``"), ("or/der", "contains `or/der`"), ("..", "contains ``")] {
            assert!(error(&AVRO.replace(r#""name": "order""#, &format!(r#""name": "{name}""#))).contains(expected));
        }
        assert!(error(&AVRO.replace("shop", "_shop")).contains("schema _shop.order: the name begins with `_`"));
        assert!(
            error(&AVRO.replace(r#""type": "long"}]}"#, r#""type": {"type": "map", "values": "int"}}]}"#))
                .contains("`cents`")
        );
        assert!(error("{").contains("schema ?"));
    }
}
