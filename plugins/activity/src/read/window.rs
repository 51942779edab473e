//! A window on the bytes of a row group: only those that are needed at the moment are in memory.

use super::blocking::Blocking;
use crate::store::StoreError;
use bytes::{Buf, Bytes, buf::Reader};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// No page's header is larger.
pub(super) const HEADER_BYTES_MAX: u64 = 64 << 10;
/// The bytes that are read at a time, unless a page is larger; smaller row groups are read at once.
const READ_AHEAD_BYTES: u64 = 1 << 20;
const READ_WHOLE_BYTES_MAX: u64 = 16 << 20;

/// The column chunks of a row group that are read.
#[derive(Clone)]
pub(super) struct Window(Arc<Inner>);

struct Inner {
    store: Blocking,
    path: String,
    length: u64,
    chunks: Vec<Chunk>,
    /// Why the store could not be read: the library passes on only a text.
    failed: Mutex<Option<StoreError>>,
}

struct Chunk {
    range: Range<u64>,
    /// The bytes that were read last, and their offset.
    read: Mutex<(u64, Bytes)>,
}

// === impl Window ===

impl Window {
    /// A window on these ranges of a file of `length` bytes, which contains them.
    pub(super) fn new(store: &Blocking, path: &str, length: u64, ranges: Vec<Range<u64>>) -> Result<Self, StoreError> {
        let start = ranges.iter().map(|range| range.start).min().unwrap_or(0);
        let end = ranges.iter().map(|range| range.end).max().unwrap_or(0);
        let all = match end - start <= READ_WHOLE_BYTES_MAX {
            true => store.ask(async |store| store.read(path, start..end).await.map_err(|e| e.reading(path)))?,
            false => Bytes::new(),
        };
        let chunks = ranges.into_iter().map(|range| Chunk { range, read: Mutex::new((start, all.clone())) }).collect();
        Ok(Self(Arc::new(Inner {
            store: store.clone(),
            path: path.to_owned(),
            length,
            chunks,
            failed: Mutex::new(None),
        })))
    }

    /// Takes the error of the store, if there was one.
    pub(super) fn failure(&self) -> Option<StoreError> {
        lock(&self.0.failed).take()
    }

    /// At most `length` bytes from `start` on, all of one chunk.
    pub(super) fn upto(&self, start: u64, length: u64) -> Result<Bytes, ParquetError> {
        let chunk = self.chunk(start)?;
        self.bytes(chunk, start, length.min(chunk.range.end - start))
    }

    fn chunk(&self, at: u64) -> Result<&Chunk, ParquetError> {
        let chunk = self.0.chunks.iter().find(|chunk| chunk.range.contains(&at));
        chunk.ok_or_else(|| ParquetError::EOF(format!("{at} is not in the row group")))
    }

    fn bytes(&self, chunk: &Chunk, start: u64, length: u64) -> Result<Bytes, ParquetError> {
        let mut read = lock(&chunk.read);
        let has = |(first, bytes): &(u64, Bytes)| *first <= start && start + length <= first + bytes.len() as u64;
        if !has(&read) {
            let end = chunk.range.end.min(start + length.max(READ_AHEAD_BYTES));
            *read = (start, self.fetch(start..end)?);
        }
        if !has(&read) {
            return Err(ParquetError::EOF(format!("{length} bytes from {start} are not there")));
        }
        let from = (start - read.0) as usize;
        Ok(read.1.slice(from..from + length as usize))
    }

    fn fetch(&self, range: Range<u64>) -> Result<Bytes, ParquetError> {
        let read =
            self.0.store.ask(async |store| store.read(&self.0.path, range).await.map_err(|e| e.reading(&self.0.path)));
        read.map_err(|error| {
            let text = error.to_string();
            *lock(&self.0.failed) = Some(error);
            ParquetError::General(text)
        })
    }
}

impl Length for Window {
    fn len(&self) -> u64 {
        self.0.length
    }
}

impl ChunkReader for Window {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        // After the last page, there are no bytes.
        let bytes = self.chunk(start).map_or_else(|_| Ok(Bytes::new()), |_| self.upto(start, HEADER_BYTES_MAX))?;
        Ok(bytes.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        if length == 0 {
            return Ok(Bytes::new());
        }
        let (chunk, length) = (self.chunk(start)?, length as u64);
        if length > chunk.range.end - start {
            return Err(ParquetError::EOF(format!("{length} bytes from {start} are not in the row group")));
        }
        self.bytes(chunk, start, length)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
