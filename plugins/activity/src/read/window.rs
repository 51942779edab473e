//! The bytes of a row group, as far as they are needed at the moment.

use super::Blocking;
use crate::store::StoreError;
use bytes::{Buf, Bytes, buf::Reader};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is read at once, unless a page is larger; of columns that have less between them, all is.
const AHEAD: u64 = 1 << 20;
const WHOLE: u64 = 16 << 20;

/// The chunks of the columns that are read of a row group.
#[derive(Clone)]
pub(super) struct Window(Arc<Inner>);

struct Inner {
    store: Blocking,
    path: String,
    length: u64,
    chunks: Vec<Chunk>,
    /// Why the store could not be read: the library only hands on a text.
    failed: Mutex<Option<StoreError>>,
}

struct Chunk {
    range: Range<u64>,
    /// Where what was read last begins.
    read: Mutex<(u64, Bytes)>,
}

// === impl Window ===

impl Window {
    /// A window of these ranges of a file of `length` bytes, which must be in it.
    pub(super) fn new(store: &Blocking, path: &str, length: u64, ranges: Vec<Range<u64>>) -> Result<Self, StoreError> {
        let start = ranges.iter().map(|range| range.start).min().unwrap_or(0);
        let end = ranges.iter().map(|range| range.end).max().unwrap_or(0);
        let all = match end - start <= WHOLE {
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

    /// Why the store could not be read, if it could not.
    pub(super) fn failure(&self) -> Option<StoreError> {
        lock(&self.0.failed).take()
    }

    /// At most `length` bytes from `start` on, which are of one chunk.
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
            let end = chunk.range.end.min(start + length.max(AHEAD));
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
        // After the last page there is nothing.
        let bytes =
            self.chunk(start).map_or_else(|_| Ok(Bytes::new()), |_| self.upto(start, super::pages::HEADER_BYTES))?;
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
