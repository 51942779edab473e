//! Reading files of the tables, one row group at a time: off the async workers.

use crate::encode::{Appended, Footer};
use crate::store::{Store, StoreError};
use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Int64Type, TimestampMicrosecondType};
use arrow_schema::SchemaRef;
use bytes::{Buf, Bytes, buf::Reader};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::{ChunkReader, Length};
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use tokio::runtime::Handle;

/// A footer fits into this, as a rule.
const FOOTER_BYTES: usize = 64 << 10;
const BATCH_ROWS: usize = 16 << 10;

/// A store, for threads that may block.
#[derive(Clone)]
pub(crate) struct Blocking {
    store: Arc<dyn Store>,
    runtime: Handle,
}

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
    /// The store cannot, at the moment.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file is not what it should be.
    #[error("{path}: {why}")]
    Damaged {
        /// Which.
        path: String,
        /// What is wrong.
        why: String,
    },
}

/// The bytes of a file from `start` on, as far as they were read.
struct Window {
    start: u64,
    bytes: Bytes,
    length: u64,
}

/// The metadata of a Parquet file, or why it is none, and its size in bytes; `None` where there is no file.
pub(crate) async fn metadata(store: &dyn Store, path: &str) -> Result<Option<(Result<ParquetMetaData, ParquetError>, u64)>, StoreError> {
    let mut want = FOOTER_BYTES;
    loop {
        let Some((tail, length)) = store.read_tail(path, want).await.map_err(|e| e.reading(path))? else { return Ok(None) };
        let mut reader = ParquetMetaDataReader::new();
        match reader.try_parse_sized(&tail, length) {
            Err(ParquetError::NeedMoreData(more)) if more > want && (want as u64) < length => want = more,
            parsed => return Ok(Some((parsed.and_then(|()| reader.finish()), length))),
        }
    }
}

// === impl Blocking ===

impl Blocking {
    /// To be made where async code runs.
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, runtime: Handle::current() }
    }

    pub(crate) fn ask<T>(&self, call: impl AsyncFnOnce(&dyn Store) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.runtime.block_on(call(self.store.as_ref()))
    }
}

// === impl StoredFile ===

impl StoredFile {
    pub(crate) fn open(store: &Blocking, path: String) -> Result<Self, ReadFailure> {
        let damaged = |why: &str| ReadFailure::Damaged { path: path.clone(), why: why.to_owned() };
        let read = store.ask(async |store| metadata(store, &path).await)?;
        let (metadata, length) = read.ok_or_else(|| damaged("there is no such file"))?;
        let metadata = metadata.map_err(|e| damaged(&format!("it is no whole Parquet file: {e}")))?;
        let footer = Footer::from_metadata(&metadata).ok_or_else(|| damaged("its footer is not Greyhound's"))?;
        let metadata = ArrowReaderMetadata::try_new(Arc::new(metadata), ArrowReaderOptions::new()).map_err(|e| damaged(&e.to_string()))?;
        Ok(Self { store: store.clone(), path, metadata, footer, length })
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        self.metadata.schema()
    }

    pub(crate) fn groups(&self) -> Range<usize> {
        0..self.metadata.metadata().num_row_groups()
    }

    /// The rows of a row group: these columns of them, or all.
    pub(crate) fn rows(
        &self,
        group: usize,
        columns: Option<&[&str]>,
    ) -> Result<impl Iterator<Item = Result<RecordBatch, ReadFailure>>, ReadFailure> {
        let schema = self.metadata.metadata().file_metadata().schema_descr();
        let mask = columns.map_or_else(ProjectionMask::all, |names| ProjectionMask::columns(schema, names.iter().copied()));
        let chunks = self.metadata.metadata().row_group(group).columns().iter().enumerate();
        let ranges: Vec<_> = chunks.filter(|(at, _)| mask.leaf_included(*at)).map(|(_, chunk)| chunk.byte_range()).collect();
        let start = ranges.iter().map(|(start, _)| *start).min().unwrap_or(0);
        let end = ranges.iter().map(|(start, length)| start + length).max().unwrap_or(0);
        if end > self.length {
            return Err(self.damaged("its footer tells of more than there is"));
        }
        let bytes = self.store.ask(async |store| store.read(&self.path, start..end).await.map_err(|e| e.reading(&self.path)))?;
        let window = Window { start, bytes, length: self.length };
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(window, self.metadata.clone())
            .with_row_groups(vec![group])
            .with_projection(mask)
            .with_batch_size(BATCH_ROWS)
            .build();
        let reader = reader.map_err(|e| self.damaged(&e.to_string()))?;
        Ok(reader.map(|rows| rows.map_err(|e| self.damaged(&e.to_string()))))
    }

    /// What it has of `rows`.
    pub(crate) fn appended(&self, rows: &RangeInclusive<u64>) -> Result<Appended, ReadFailure> {
        let mut appended = Appended::default();
        for group in self.groups() {
            for batch in self.rows(group, Some(&["seq", "time"]))? {
                let batch = batch?;
                let (seqs, times) = (self.column::<Int64Type>(&batch, "seq")?, self.column::<TimestampMicrosecondType>(&batch, "time")?);
                let all = seqs.iter().zip(times).map(|(seq, time)| (*seq as u64, *time));
                all.filter(|(seq, _)| rows.contains(seq)).for_each(|(seq, time)| appended.add(seq, time));
            }
        }
        Ok(appended)
    }

    pub(crate) fn column<'a, T: ArrowPrimitiveType>(&self, batch: &'a RecordBatch, name: &str) -> Result<&'a [T::Native], ReadFailure> {
        let column = batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<T>());
        Ok(column.ok_or_else(|| self.damaged(&format!("it has no column {name} of the right type")))?.values())
    }

    pub(crate) fn damaged(&self, why: &str) -> ReadFailure {
        ReadFailure::Damaged { path: self.path.clone(), why: why.to_owned() }
    }
}

// === impl Window ===

impl Length for Window {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Window {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let from = start.checked_sub(self.start).and_then(|from| usize::try_from(from).ok()).filter(|from| *from <= self.bytes.len());
        let from = from.ok_or_else(|| ParquetError::EOF(format!("{start} is not in the row group")))?;
        Ok(self.bytes.slice(from..).reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let rest = self.get_read(start)?.into_inner();
        if rest.len() < length {
            return Err(ParquetError::EOF(format!("{length} bytes from {start} are not in the row group")));
        }
        Ok(rest.slice(..length))
    }
}
