//! A digest of each column's values, in a file's footer. It detects changed values and shifted times.
//!
//! The digest of a column is the sum, modulo 2^64, of `mix(mix(seq, 0), word)` over the rows in which it is not null.
//! `mix(a, b)` is the product of `a ^ 0x9e3779b97f4a7c15` and `b ^ 0xc2b2ae3d27d4eb4f`, the upper 64 of its 128 bits
//! XOR the lower. The word of a value is:
//!
//! | type | word |
//! |---|---|
//! | int, long, timestamp | the number, in two's complement; of a timestamp, microseconds since 1970 UTC |
//! | boolean | 0 or 1 |
//! | double | its bits (IEEE 754) |
//! | string, enum, bytes | XXH3 (64 bits, seed 0) of its bytes, of text in UTF-8 |
//! | array | XXH3 of its elements: for each the byte 1 and its word in 8 bytes, little-endian, or the byte 0 if it is null |
//!
//! A sum depends neither on the order of the rows nor on how they are encoded or divided into files: the sums of an hour's
//! files add up to those of the compacted file. A column without values has the digest 0, as if it were absent, so that
//! columns which a schema gained later change nothing. `seq` has no digest, because it is part of all others.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, ByteArrayType, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow_array::{Array, GenericByteArray, ListArray, RecordBatch};
use arrow_schema::{ArrowError, DataType, TimeUnit};
use std::collections::BTreeMap;
use twox_hash::XxHash3_64;

/// The column of row numbers.
const SEQ: &str = "seq";
/// The number of rows that are hashed at a time, so that their words stay in the processor's cache.
const BLOCK_ROWS: usize = 1024;
/// Constants that make the factors of [`mix`] large.
const FACTORS: (u64, u64) = (0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f);

/// The digest of each column except `seq`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ValueDigests(BTreeMap<String, u64>);

// === impl ValueDigests ===

impl ValueDigests {
    /// Adds rows of a table, in any order.
    ///
    /// # Errors
    /// If they have no numbers, or a column of a type that no table has.
    pub fn add(&mut self, rows: &RecordBatch) -> Result<(), ArrowError> {
        for at in (0..rows.num_rows()).step_by(BLOCK_ROWS) {
            self.add_block(&rows.slice(at, BLOCK_ROWS.min(rows.num_rows() - at)))?;
        }
        Ok(())
    }

    /// Adds the rows of another file.
    pub fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(column, sum)| self.add_to(column, *sum));
    }

    /// The columns that differ.
    #[must_use]
    pub fn differing(&self, other: &Self) -> Vec<String> {
        let of = |digests: &Self, column: &str| digests.0.get(column).copied().unwrap_or(0);
        let differs = |column: &&String| of(self, column) != of(other, column);
        let others = other.0.keys().filter(|column| !self.0.contains_key(*column));
        self.0.keys().chain(others).filter(differs).cloned().collect()
    }

    /// The digests as a JSON object, each in 16 hex digits.
    #[must_use]
    pub fn to_json(&self) -> String {
        let digits = self.0.iter().map(|(column, sum)| (column.clone(), format!("{sum:016x}").into()));
        serde_json::Value::Object(digits.collect()).to_string()
    }

    /// Reads the text that [`ValueDigests::to_json`] returns; `None` if it is another text.
    #[must_use]
    pub fn from_json(text: &str) -> Option<Self> {
        let digits: BTreeMap<String, String> = serde_json::from_str(text).ok()?;
        let sums = digits.into_iter().map(|(column, digits)| Some((column, u64::from_str_radix(&digits, 16).ok()?)));
        Some(Self(sums.collect::<Option<_>>()?))
    }

    fn add_block(&mut self, rows: &RecordBatch) -> Result<(), ArrowError> {
        let seqs = rows.column_by_name(SEQ).and_then(|seqs| seqs.as_primitive_opt::<Int64Type>());
        let seqs = seqs.ok_or_else(|| ArrowError::SchemaError("there is no column seq of whole numbers".to_owned()))?;
        let keys: Vec<u64> = seqs.values().iter().map(|seq| mix(*seq as u64, 0)).collect();
        for (field, column) in rows.schema_ref().fields().iter().zip(rows.columns()) {
            if field.name() != SEQ {
                self.add_to(field.name(), sum(&keys, column)?);
            }
        }
        Ok(())
    }

    fn add_to(&mut self, column: &str, sum: u64) {
        match self.0.get_mut(column) {
            Some(total) => *total = total.wrapping_add(sum),
            None => drop(self.0.insert(column.to_owned(), sum)),
        }
    }
}

fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ FACTORS.0) * u128::from(b ^ FACTORS.1);
    (product >> 64) as u64 ^ product as u64
}

/// The digest of a column; `keys` are those of its rows.
fn sum(keys: &[u64], column: &dyn Array) -> Result<u64, ArrowError> {
    let words = words(column)?;
    let all = keys.iter().zip(&words).map(|(key, word)| mix(*key, *word));
    Ok(match column.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => all.fold(0, u64::wrapping_add),
        Some(nulls) => all.zip(nulls).map(|(it, is_valid)| if is_valid { it } else { 0 }).fold(0, u64::wrapping_add),
    })
}

/// The word of each value. That of a null is not used.
fn words(column: &dyn Array) -> Result<Vec<u64>, ArrowError> {
    Ok(match column.data_type() {
        DataType::Int64 => numbers::<Int64Type>(column, |value| value as u64),
        DataType::Int32 => numbers::<Int32Type>(column, |value| i64::from(value) as u64),
        DataType::Float64 => numbers::<Float64Type>(column, f64::to_bits),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            numbers::<TimestampMicrosecondType>(column, |value| value as u64)
        }
        DataType::Boolean => column.as_boolean().values().iter().map(u64::from).collect(),
        DataType::Utf8 => texts(column.as_string::<i32>()),
        DataType::Binary => texts(column.as_binary::<i32>()),
        DataType::Dictionary(..) if column.null_count() == column.len() => vec![0; column.len()],
        DataType::Dictionary(..) => {
            let dictionary = column.as_any_dictionary();
            let words = words(dictionary.values())?;
            dictionary.normalized_keys().into_iter().map(|key| words[key]).collect()
        }
        DataType::List(_) => lists(column.as_list())?,
        other => return Err(ArrowError::SchemaError(format!("no table has a column of type {other}"))),
    })
}

fn numbers<T: ArrowPrimitiveType>(column: &dyn Array, word: impl Fn(T::Native) -> u64) -> Vec<u64> {
    column.as_primitive::<T>().values().iter().map(|value| word(*value)).collect()
}

fn texts<T: ByteArrayType<Offset = i32>>(column: &GenericByteArray<T>) -> Vec<u64> {
    let bytes = column.values();
    let each = column.value_offsets().windows(2);
    each.map(|at| XxHash3_64::oneshot(&bytes[at[0] as usize..at[1] as usize])).collect()
}

fn lists(column: &ListArray) -> Result<Vec<u64>, ArrowError> {
    let offsets = column.value_offsets();
    let (first, end) = (offsets[0] as usize, offsets[column.len()] as usize);
    let elements = column.values().slice(first, end - first);
    let longest = offsets.windows(2).map(|at| at[1] - at[0]).max().unwrap_or(0);
    // Allocated once, for the longest list, because lists may be large.
    let (words, mut bytes) = (words(&elements)?, Vec::with_capacity(9 * longest as usize));
    let of_list = |at: &[i32]| {
        bytes.clear();
        let (from, to) = (at[0] as usize - first, at[1] as usize - first);
        for (word, at) in words[from..to].iter().zip(from..to) {
            bytes.push(u8::from(elements.is_valid(at)));
            if elements.is_valid(at) {
                bytes.extend_from_slice(&word.to_le_bytes());
            }
        }
        XxHash3_64::oneshot(&bytes)
    };
    Ok(offsets.windows(2).map(of_list).collect())
}
