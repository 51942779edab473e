//! Encodes rows of the bus into a Parquet file in memory.

use crate::roll_policy::Span;
use crate::value_digests::ValueDigests;
use arrow_array::{Array, RecordBatch};
use arrow_schema::{ArrowError, DataType, Schema};
use bytes::Bytes;
use greyhound_sdk::{Batch, Shard, TopicSchema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, ParquetMetaData};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use serde::{Deserialize, Serialize};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::sync::Arc;

/// The Parquet writer gets rows in chunks of at least this many, because each batch has a fixed cost, ...
const CHUNK_ROWS: usize = 8192;
/// ... or at least this many bytes, because large rows must not accumulate outside the writer.
const CHUNK_BYTES: usize = 4 << 20;
/// The rows of a row group.
pub(crate) const ROW_GROUP_ROWS: usize = 1 << 20;

/// The encodings of the files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encodings {
    /// Differences for numbers: the smallest files.
    #[default]
    Modern,
    /// Only plain and dictionary, which every reader supports.
    Compatible,
}

/// An unfinished file.
pub struct Encoder {
    schema: Arc<TopicSchema>,
    writer: ArrowWriter<Vec<u8>>,
    waiting: Vec<RecordBatch>,
    waiting_rows: usize,
    waiting_bytes: usize,
    rows: u64,
    digest: Digest,
    values: ValueDigests,
}

/// A digest over batches as the log holds them: the same rows of the same journal have the same digest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Digest(u32);

/// A digest over the numbers and times of rows, in any order: it differs between two journals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Appended {
    rows: u64,
    sum: u64,
}

/// A finished file.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// Its content.
    pub bytes: Bytes,
    /// Its footer.
    pub footer: Footer,
}

/// The metadata in a file's footer, which identifies the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footer {
    /// The shard of its rows.
    pub shard: String,
    /// The number of its first row.
    pub first: u64,
    /// The number of its last row.
    pub last: u64,
    /// The number of rows.
    pub rows: u64,
    /// The [`Digest`] of its rows, 8 hex digits.
    pub digest: String,
    /// The fingerprint of its schema, 16 hex digits.
    pub schema: String,
    /// The digests of its columns; `None` in files of versions without them.
    pub values: Option<ValueDigests>,
    /// For a compacted file, the files from which it was made, in order; otherwise empty.
    pub parts: Vec<Part>,
}

/// A committed file: its first and last row, and the [`Digest`] of its rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part(pub u64, pub u64, pub String);

// === impl Digest ===

impl Digest {
    /// Adds `batch`.
    pub fn add(&mut self, batch: &Batch) {
        for number in [batch.first, batch.rows.num_rows() as u64, u64::from(batch.digest)] {
            self.0 = crc32c::crc32c_append(self.0, &number.to_le_bytes());
        }
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

// === impl Appended ===

impl Appended {
    /// Adds a row, appended at `time` (microseconds since 1970 UTC).
    pub fn add(&mut self, seq: u64, time: i64) {
        let mut hasher = DefaultHasher::new();
        (seq, time).hash(&mut hasher);
        self.rows += 1;
        self.sum = self.sum.wrapping_add(hasher.finish());
    }
}

// === impl Encoder ===

impl Encoder {
    /// An empty file for rows of `schema`.
    ///
    /// # Errors
    /// If Parquet has no column for one of its types.
    pub fn new(schema: Arc<TopicSchema>, encodings: Encodings) -> Result<Self, ParquetError> {
        let writer =
            ArrowWriter::try_new(Vec::new(), schema.table().clone(), Some(properties(schema.table(), encodings)))?;
        Ok(Self {
            schema,
            writer,
            waiting: Vec::new(),
            waiting_rows: 0,
            waiting_bytes: 0,
            rows: 0,
            digest: Digest::default(),
            values: ValueDigests::default(),
        })
    }

    /// Adds a batch.
    ///
    /// # Errors
    /// If the rows do not have the file's schema.
    pub fn add(&mut self, batch: &Batch) -> Result<(), ParquetError> {
        self.digest.add(batch);
        self.rows += batch.rows.num_rows() as u64;
        self.waiting_rows += batch.rows.num_rows();
        self.waiting_bytes += size(&batch.rows);
        self.waiting.push(self.schema.to_table(batch.first, batch.time, &batch.rows)?);
        match self.waiting_rows >= CHUNK_ROWS || self.waiting_bytes >= CHUNK_BYTES {
            true => self.write_waiting(),
            false => Ok(()),
        }
    }

    /// The approximate size of the file so far.
    #[must_use]
    pub fn size(&self) -> usize {
        self.writer.bytes_written() + self.writer.in_progress_size() + self.waiting_bytes
    }

    #[cfg(test)]
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Finishes the file, which has the rows of `span`.
    ///
    /// # Errors
    /// If Parquet cannot encode the rows.
    pub fn finish(mut self, span: &Span, shard: &Shard) -> Result<Encoded, ParquetError> {
        self.write_waiting()?;
        let footer = Footer {
            shard: shard.to_string(),
            first: span.first,
            last: span.end - 1,
            rows: self.rows,
            digest: self.digest.to_string(),
            schema: format!("{:016x}", self.schema.fingerprint()),
            values: Some(self.values),
            parts: Vec::new(),
        };
        footer.write(&mut self.writer);
        Ok(Encoded { bytes: self.writer.into_inner()?.into(), footer })
    }

    fn write_waiting(&mut self) -> Result<(), ParquetError> {
        (self.waiting_rows, self.waiting_bytes) = (0, 0);
        let waiting = std::mem::take(&mut self.waiting);
        match waiting.as_slice() {
            [] => Ok(()),
            [one] => self.write(one),
            several => self.write(&join(self.schema.table(), several)?),
        }
    }

    fn write(&mut self, rows: &RecordBatch) -> Result<(), ParquetError> {
        self.values.add(rows)?;
        self.writer.write(rows)
    }
}

/// The memory of the rows alone; columns that were read from the log share a larger buffer.
fn size(rows: &RecordBatch) -> usize {
    rows.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0)).sum()
}

fn join(schema: &Arc<Schema>, batches: &[RecordBatch]) -> Result<RecordBatch, ArrowError> {
    arrow_select::concat::concat_batches(schema, batches)
}

/// The encodings of the columns by type: differences for numbers, or a dictionary if they repeat; a dictionary for
/// strings; bloom filters on columns that people look up by equality (`*_id`). Pages have version 1, the writer's
/// default.
#[must_use]
pub fn properties(table: &Schema, encodings: Encodings) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("greyhound ", env!("CARGO_PKG_VERSION")).into())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS));
    for field in table.fields() {
        let path = ColumnPath::from(field.name().as_str());
        match field.data_type() {
            DataType::Int32 | DataType::Int64 | DataType::Timestamp(..) if encodings == Encodings::Modern => {
                properties = properties
                    .set_column_dictionary_enabled(path.clone(), false)
                    .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
            }
            DataType::Utf8 if field.name().ends_with("_id") => {
                properties = properties.set_column_bloom_filter_enabled(path, true)
            }
            _ => {}
        }
    }
    properties.build()
}

// === impl Footer ===

impl Footer {
    /// The footer in `metadata`; `None` if the file is not Greyhound's.
    #[must_use]
    pub fn from_metadata(metadata: &ParquetMetaData) -> Option<Self> {
        let pairs = metadata.file_metadata().key_value_metadata()?;
        let text = |key: &str| pairs.iter().find(|p| p.key.strip_prefix("greyhound.") == Some(key))?.value.clone();
        let number = |key: &str| text(key)?.parse().ok();
        Some(Self {
            shard: text("shard")?,
            first: number("first")?,
            last: number("last")?,
            rows: number("rows")?,
            digest: text("digest")?,
            schema: text("schema")?,
            values: text("values").and_then(|values| ValueDigests::from_json(&values)),
            parts: text("parts").map_or(Some(Vec::new()), |parts| serde_json::from_str(&parts).ok())?,
        })
    }

    /// The footer of a file that consists of `parts`.
    ///
    /// # Panics
    /// If there are none.
    #[must_use]
    pub fn of_parts(shard: &str, schema: &str, rows: u64, parts: Vec<Part>, values: ValueDigests) -> Self {
        let (first, last) =
            parts.first().zip(parts.last()).map(|(first, last)| (first.0, last.1)).expect("a file has parts");
        let digest = parts.iter().fold(0, |digest, Part(first, last, of)| {
            crc32c::crc32c_append(digest, format!("{first} {last} {of} ").as_bytes())
        });
        Self {
            shard: shard.to_owned(),
            first,
            last,
            rows,
            digest: Digest(digest).to_string(),
            schema: schema.to_owned(),
            values: Some(values),
            parts,
        }
    }

    /// The first and last row of each file from which it was made, or its own.
    pub fn ranges(&self) -> impl Iterator<Item = (u64, u64)> {
        let whole = self.parts.is_empty().then_some((self.first, self.last));
        self.parts.iter().map(|Part(first, last, _)| (*first, *last)).chain(whole)
    }

    /// The footer of the committed file with the row `seq`: this one, or one for a part of it.
    #[must_use]
    pub fn part_with(&self, seq: u64) -> Option<Self> {
        if self.parts.is_empty() {
            return (self.first..=self.last).contains(&seq).then(|| self.clone());
        }
        let Part(first, last, digest) =
            self.parts.iter().find(|Part(first, last, _)| (*first..=*last).contains(&seq))?;
        Some(Self {
            first: *first,
            last: *last,
            digest: digest.clone(),
            rows: last - first + 1,
            values: None,
            parts: Vec::new(),
            ..self.clone()
        })
    }

    /// Adds it to the metadata of an unfinished file.
    pub fn write<W: Write + Send>(&self, file: &mut ArrowWriter<W>) {
        for (key, value) in self.pairs() {
            file.append_key_value_metadata(KeyValue::new(format!("greyhound.{key}"), value));
        }
    }

    fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = vec![
            ("shard", self.shard.clone()),
            ("first", self.first.to_string()),
            ("last", self.last.to_string()),
            ("rows", self.rows.to_string()),
            ("digest", self.digest.clone()),
            ("schema", self.schema.clone()),
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ];
        pairs.extend(self.values.as_ref().map(|values| ("values", values.to_json())));
        if !self.parts.is_empty() {
            let parts: Vec<_> =
                self.parts.iter().map(|Part(first, last, digest)| format!("[{first},{last},\"{digest}\"]")).collect();
            pairs.push(("parts", format!("[{}]", parts.join(","))));
        }
        pairs
    }
}
