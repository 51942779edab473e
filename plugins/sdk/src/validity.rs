//! Checks whether a topic's table can hold its rows.

use crate::TopicSchema;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int8Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray, RecordBatch};
use arrow_schema::DataType;

/// The maximum size of a batch. Larger ones would fit neither a Parquet page nor the memory of their readers.
pub const MAX_BATCH_BYTES: usize = 256 << 20;

/// The first and last time that every engine can read, in microseconds since 1970 UTC: the beginning of 1900, because
/// Spark 3 refuses a file with an earlier time, and the end of 9999.
pub const TIME_RANGE: (i64, i64) = (-2_208_988_800_000_000, 253_402_300_799_999_999);

/// A row that no table can hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("row {row} of the batch, column `{column}`: {why}")]
pub struct BadRow {
    /// Its index in the batch.
    pub row: usize,
    /// The column.
    pub column: String,
    /// What is wrong with the value.
    pub why: String,
}

impl TopicSchema {
    /// Checks that the topic's table can hold `rows`, which have this schema's columns. It reads only the columns of
    /// enums and times, and takes nanoseconds per row.
    ///
    /// # Errors
    /// [`BadRow`] for the first row that the table cannot hold.
    pub fn check(&self, rows: &RecordBatch) -> Result<(), BadRow> {
        let bad = self.symbols.iter().zip(rows.columns()).enumerate().filter_map(|(at, (symbols, column))| {
            let row = match (symbols, column.data_type()) {
                (Some(symbols), _) => first_outside::<Int8Type>(column, 0, i8::try_from(symbols.len()).ok()? - 1),
                (None, DataType::Timestamp(..)) => {
                    first_outside::<TimestampMicrosecondType>(column, TIME_RANGE.0, TIME_RANGE.1)
                }
                (None, _) => None,
            };
            Some((row?, at))
        });
        match bad.min() {
            Some((row, at)) => Err(BadRow {
                row,
                column: self.columns.field(at).name().clone(),
                why: self.why(at, rows.column(at), row),
            }),
            None => Ok(()),
        }
    }

    fn why(&self, at: usize, column: &ArrayRef, row: usize) -> String {
        match &self.symbols[at] {
            Some(symbols) => {
                let (value, all) = (column.as_primitive::<Int8Type>().value(row), symbols.as_string::<i32>());
                let all: Vec<_> =
                    all.iter().flatten().zip(0..).map(|(symbol, place)| format!("`{symbol}` ({place})")).collect();
                format!("{value} is not the index of a symbol; expected one of {}", all.join(", "))
            }
            None => {
                let value = column.as_primitive::<TimestampMicrosecondType>().value(row);
                format!("{value} microseconds are not a time between 1900 and 9999, which engines can read")
            }
        }
    }
}

/// The first row whose value is not between `low` and `high`.
fn first_outside<T: ArrowPrimitiveType>(column: &ArrayRef, low: T::Native, high: T::Native) -> Option<usize> {
    let column: &PrimitiveArray<T> = column.as_primitive_opt()?;
    let is_outside = |value: T::Native| (value < low) | (value > high);
    // First tests all values at once, without branches. That includes values under nulls, which are skipped below.
    if !column.values().iter().fold(false, |any, value| any | is_outside(*value)) {
        return None;
    }
    (0..column.len()).find(|row| column.is_valid(*row) && is_outside(column.value(*row)))
}

/// Returns the size of the rows in bytes. Columns that share the memory of a larger batch count only their part.
#[must_use]
pub fn size(rows: &RecordBatch) -> usize {
    let slice = |column: &ArrayRef| column.to_data().get_slice_memory_size().unwrap_or(usize::MAX);
    rows.columns().iter().map(slice).fold(0, usize::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AVRO: &str = r#"{"type": "record", "name": "visit", "fields": [
        {"name": "kind", "type": {"type": "enum", "name": "kind", "symbols": ["come", "go"]}},
        {"name": "via", "type": ["null", {"type": "enum", "name": "via", "symbols": ["door"]}], "default": null},
        {"name": "due", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}], "default": null}]}"#;

    #[derive(Debug, Clone, serde::Serialize)]
    struct Visit {
        kind: i8,
        via: Option<i8>,
        due: Option<i64>,
    }

    fn visit(kind: i8, via: Option<i8>, due: Option<i64>) -> Visit {
        Visit { kind, via, due }
    }

    fn check(rows: &[Visit]) -> Result<(), String> {
        let schema = TopicSchema::from_avro(AVRO).unwrap();
        let rows = serde_arrow::to_record_batch(schema.columns().fields(), &rows).unwrap();
        schema.check(&rows).map_err(|bad| bad.to_string())
    }

    #[test]
    fn rows_that_a_table_can_hold_pass() {
        assert_eq!(check(&[]), Ok(()));
        let times = [None, Some(0), Some(TIME_RANGE.0), Some(TIME_RANGE.1)];
        let rows: Vec<_> = times.into_iter().map(|due| visit(1, None, due)).chain([visit(0, Some(0), None)]).collect();
        assert_eq!(check(&rows), Ok(()));
    }

    #[test]
    fn the_first_row_that_no_table_can_hold_is_named() {
        let refused = |bad: &Visit| {
            check(&[visit(0, Some(0), Some(5)), bad.clone(), visit(99, Some(99), Some(i64::MAX))]).unwrap_err()
        };
        for (bad, why) in [
            (
                visit(2, None, None),
                "row 1 of the batch, column `kind`: 2 is not the index of a symbol; expected one of `come` (0), `go` (1)",
            ),
            (visit(-1, None, None), "column `kind`: -1 is"),
            (
                visit(1, Some(1), None),
                "row 1 of the batch, column `via`: 1 is not the index of a symbol; expected one of `door` (0)",
            ),
            (
                visit(1, None, Some(TIME_RANGE.0 - 1)),
                "row 1 of the batch, column `due`: -2208988800000001 microseconds",
            ),
            (visit(1, None, Some(TIME_RANGE.1 + 1)), "between 1900 and 9999"),
        ] {
            assert!(refused(&bad).contains(why), "{bad:?}: {}", refused(&bad));
        }
    }

    #[test]
    fn a_slice_counts_only_its_part() {
        let schema = TopicSchema::from_avro(AVRO).unwrap();
        let rows = vec![visit(1, Some(0), Some(1)); 1000];
        let rows = serde_arrow::to_record_batch(schema.columns().fields(), &rows).unwrap();
        assert!(size(&rows.slice(10, 10)) * 50 < size(&rows));
    }
}
