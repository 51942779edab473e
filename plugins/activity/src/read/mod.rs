//! Reads files of the tables on blocking threads, in bounded memory whatever a file claims.
//!
//! Footers and page headers are checked before the library allocates memory for the sizes that they claim. Rows are
//! decoded in batches of about 16 MiB, however small their encoding is, and never more than 256 MiB at a time, including
//! what their digests take; a sound file comes near that only with a single value of that size.

mod blocking;
mod pages;
mod thrift;
mod window;

pub(crate) use blocking::Blocking;

use crate::encode::{Appended, Footer, ROW_GROUP_ROWS};
use crate::store::{Store, StoreError};
use crate::value_digests::ValueDigests;
use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Int64Type, TimestampMicrosecondType};
use arrow_schema::SchemaRef;
use pages::Demand;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader};
use std::ops::{Range, RangeInclusive};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use thrift::walk;
use window::Window;

/// Most footers fit into this, ...
const FOOTER_BYTES: usize = 64 << 10;
/// ... and all into this.
const MAX_FOOTER_BYTES: usize = 64 << 20;
/// The end of a file after its footer: the footer's length and the magic number.
const END_BYTES: usize = 8;
/// The most rows of a row group.
const MAX_GROUP_ROWS: i64 = ROW_GROUP_ROWS as i64;
/// The most elements of a schema, and its deepest nesting.
const MAX_ELEMENTS: usize = 10_000;
const MAX_NESTED: usize = 16;

/// A file of the tables.
pub(crate) struct StoredFile {
    store: Blocking,
    path: String,
    metadata: ArrowReaderMetadata,
    pub(crate) footer: Footer,
    pub(crate) length: u64,
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadFailure {
    /// The store fails at the moment.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file is damaged.
    #[error("{path}: {why}")]
    Damaged {
        /// Its path.
        path: String,
        /// What is wrong.
        why: String,
    },
}

/// The metadata of a Parquet file, or why it is not one, and its size in bytes; `None` if there is no file.
pub(crate) async fn metadata(
    store: &dyn Store,
    path: &str,
) -> Result<Option<(Result<ParquetMetaData, ParquetError>, u64)>, StoreError> {
    let mut want = FOOTER_BYTES;
    loop {
        let Some((tail, length)) = store.read_tail(path, want).await.map_err(|e| e.reading(path))? else {
            return Ok(None);
        };
        let Some(needed) = needed(&tail) else { return Ok(Some((Err(damaged("it does not end as one")), length))) };
        if needed > want && (want as u64) < length && needed <= MAX_FOOTER_BYTES {
            want = needed;
            continue;
        }
        let footer = tail.len().checked_sub(needed).map(|at| &tail[at..tail.len() - END_BYTES]);
        if !footer.is_some_and(is_sound) {
            return Ok(Some((Err(damaged("its footer is not whole, or claims more than there is")), length)));
        }
        let mut reader = ParquetMetaDataReader::new();
        let parsed = reader.try_parse_sized(&tail, length);
        return Ok(Some((parsed.and_then(|()| reader.finish()), length)));
    }
}

/// The size of the footer and the end after it; `None` if this is not the end of a Parquet file.
fn needed(tail: &[u8]) -> Option<usize> {
    let (length, magic) = tail.last_chunk::<END_BYTES>()?.split_first_chunk()?;
    (magic == b"PAR1").then_some(u32::from_le_bytes(*length) as usize + END_BYTES)
}

/// Whether a footer has all elements that its lists claim, and a schema of bounded depth: the library trusts both, and
/// allocates memory.
fn is_sound(footer: &[u8]) -> bool {
    let mut children = Vec::new();
    let whole = walk(footer, &mut |path, number| match (path, number) {
        ([2], None) => children.push(0),
        ([2, 5], Some(number)) => children.last_mut().into_iter().for_each(|last| *last = number),
        _ => {}
    });
    whole.is_some() && children.len() <= MAX_ELEMENTS && is_tree(&children)
}

/// Whether elements with so many children, each before its own, are nested no deeper than [`MAX_NESTED`].
fn is_tree(children: &[i64]) -> bool {
    let mut open: Vec<i64> = Vec::new();
    for &count in children {
        while open.pop_if(|left| *left == 0).is_some() {}
        open.last_mut().into_iter().for_each(|left| *left -= 1);
        if !(0..=children.len() as i64).contains(&count) || open.len() == MAX_NESTED {
            return false;
        }
        if count > 0 {
            open.push(count);
        }
    }
    true
}

/// Turns a panic of the library, which panics on some damaged files, into an error.
fn caught<T, E: std::fmt::Display>(call: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(done) => done.map_err(|e| e.to_string()),
        Err(_) => Err("it is damaged: reading it panicked".to_owned()),
    }
}

fn damaged(why: &str) -> ParquetError {
    ParquetError::General(why.to_owned())
}

// === impl StoredFile ===

impl StoredFile {
    pub(crate) fn open(store: &Blocking, path: String) -> Result<Self, ReadFailure> {
        let damaged = |why: &str| ReadFailure::Damaged { path: path.clone(), why: why.to_owned() };
        let read = store.ask(async |store| metadata(store, &path).await)?;
        let (metadata, length) = read.ok_or_else(|| damaged("there is no such file"))?;
        let metadata = metadata.map_err(|e| damaged(&format!("it is no whole Parquet file: {e}")))?;
        let footer = Footer::from_metadata(&metadata).ok_or_else(|| damaged("its footer is not Greyhound's"))?;
        let metadata = caught(|| ArrowReaderMetadata::try_new(Arc::new(metadata), ArrowReaderOptions::new()))
            .map_err(|e| damaged(&e))?;
        Ok(Self { store: store.clone(), path, metadata, footer, length })
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        self.metadata.schema()
    }

    pub(crate) fn groups(&self) -> Range<usize> {
        0..self.metadata.metadata().num_row_groups()
    }

    /// The rows of a row group, with these columns or all.
    pub(crate) fn rows(
        &self,
        group: usize,
        columns: Option<&[&str]>,
    ) -> Result<impl Iterator<Item = Result<RecordBatch, ReadFailure>>, ReadFailure> {
        let metadata = self.metadata.metadata();
        let (schema, of_group) = (metadata.file_metadata().schema_descr(), metadata.row_group(group));
        let mask =
            columns.map_or_else(ProjectionMask::all, |names| ProjectionMask::columns(schema, names.iter().copied()));
        let wanted =
            of_group.columns().iter().enumerate().filter(|(at, _)| mask.leaf_included(*at)).map(|(_, chunk)| chunk);
        let (ranges, rows) = (self.ranges(wanted.clone())?, of_group.num_rows());
        if !(0..=MAX_GROUP_ROWS).contains(&rows) {
            return Err(self.damaged(&format!("a row group of it claims {rows} rows")));
        }
        let window = Window::new(&self.store, &self.path, self.length, ranges)?;
        let mut demand = Demand::default();
        for column in wanted {
            caught(|| demand.add(&window, column, rows as usize)).map_err(|e| self.failed(&window, &e))?;
        }
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(window.clone(), self.metadata.clone())
            .with_row_groups(vec![group])
            .with_projection(mask)
            .with_batch_size(demand.batch_rows());
        let mut reader = caught(|| reader.build()).map_err(|e| self.failed(&window, &e))?;
        let mut is_over = false;
        Ok(std::iter::from_fn(move || {
            let next = if is_over { Ok(None) } else { caught(|| reader.next().transpose()) };
            is_over = !matches!(next, Ok(Some(_)));
            next.map_err(|e| self.failed(&window, &e)).transpose()
        }))
    }

    /// The byte ranges of columns of a row group.
    fn ranges<'a>(
        &self,
        columns: impl Iterator<Item = &'a ColumnChunkMetaData>,
    ) -> Result<Vec<Range<u64>>, ReadFailure> {
        let range = |column: &ColumnChunkMetaData| {
            let start = u64::try_from(column.dictionary_page_offset().unwrap_or(column.data_page_offset())).ok()?;
            let end = start.checked_add(u64::try_from(column.compressed_size()).ok()?)?;
            (end <= self.length).then_some(start..end)
        };
        columns
            .map(|column| range(column).ok_or_else(|| self.damaged("its footer tells of more than there is")))
            .collect()
    }

    /// Why it could not be read: the store's error, if there was one.
    fn failed(&self, window: &Window, error: &dyn std::fmt::Display) -> ReadFailure {
        window.failure().map_or_else(|| self.damaged(&error.to_string()), ReadFailure::Store)
    }

    /// The digest of `rows` as far as the file has them.
    pub(crate) fn appended(&self, rows: &RangeInclusive<u64>) -> Result<Appended, ReadFailure> {
        let mut appended = Appended::default();
        for group in self.groups() {
            for batch in self.rows(group, Some(&["seq", "time"]))? {
                let batch = batch?;
                let (seqs, times) = (
                    self.column::<Int64Type>(&batch, "seq")?,
                    self.column::<TimestampMicrosecondType>(&batch, "time")?,
                );
                let all = seqs.iter().zip(times).map(|(seq, time)| (*seq as u64, *time));
                all.filter(|(seq, _)| rows.contains(seq)).for_each(|(seq, time)| appended.add(seq, time));
            }
        }
        Ok(appended)
    }

    /// The columns whose values, after all rows were read, contradict the digests in its footer.
    pub(crate) fn changed(&self, read: &ValueDigests) -> Vec<String> {
        self.footer.values.as_ref().map(|values| values.differing(read)).unwrap_or_default()
    }

    pub(crate) fn column<'a, T: ArrowPrimitiveType>(
        &self,
        batch: &'a RecordBatch,
        name: &str,
    ) -> Result<&'a [T::Native], ReadFailure> {
        let column = batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<T>());
        Ok(column.ok_or_else(|| self.damaged(&format!("it has no column {name} of the right type")))?.values())
    }

    pub(crate) fn damaged(&self, why: &str) -> ReadFailure {
        ReadFailure::Damaged { path: self.path.clone(), why: why.to_owned() }
    }
}
