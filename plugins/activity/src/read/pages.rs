//! Estimates from its pages how much memory the rows of a row group take, before they are decoded.
//!
//! The sizes in a footer prove nothing, so each page's header is read. Pages of dictionary indices are tiny, however
//! long the values are: each of their rows counts as the longest value of the dictionary.

use super::thrift::walk;
use super::window::{HEADER_BYTES_MAX, Window};
use parquet::basic::Type;
use parquet::column::page::{Page, PageReader};
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::serialized_reader::SerializedPageReader;
use std::sync::Arc;

/// The memory that the values of a batch take, as a rule, ...
const BATCH_BYTES_MAX: u64 = 16 << 20;
const BATCH_ROWS_MAX: u64 = 16 << 10;
/// ... and the most that one row, or the pages that are decoded at a time, may take.
const DECODED_BYTES_MAX: u64 = 256 << 20;
/// What an element of a list takes besides its value: its offset, its word, and the bytes of which the digest is made.
const ELEMENT_BYTES: u64 = 4 + 8 + 9;
/// The types of pages, and the encodings that Greyhound has ever written: plain, dictionary, levels, differences.
const DATA: i64 = 0;
const DICTIONARY: i64 = 2;
const DATA_V2: i64 = 3;
const ENCODINGS: [i64; 5] = [0, 2, 3, 5, 8];

/// The memory that the columns of a row group take.
#[derive(Debug, Default)]
pub(super) struct Demand {
    /// The most for one row, as an average over a page.
    row: u64,
    /// The largest page of each column.
    pages: u64,
}

/// A page's header.
#[derive(Debug, Default)]
struct Header {
    kind: i64,
    size: u64,
    compressed: u64,
    values: u64,
    encoding: i64,
}

// === impl Demand ===

impl Demand {
    /// Adds a column of a row group of `rows` rows.
    pub(super) fn add(
        &mut self,
        window: &Window,
        column: &ColumnChunkMetaData,
        rows: usize,
    ) -> Result<(), ParquetError> {
        let (mut largest, mut value, mut has_dictionary) = (0, 1, false);
        let (start, length) = column.byte_range();
        let mut at = start;
        while at < start + length {
            let bytes = window.upto(at, HEADER_BYTES_MAX)?;
            let (header, taken) = Header::read(&bytes)?;
            at += taken + header.compressed;
            if at > start + length {
                return Err(odd("a page exceeds its column"));
            }
            largest = largest.max(header.size);
            match header.kind {
                DICTIONARY => has_dictionary = true,
                _ => value = value.max(header.size.div_ceil(header.values.max(1))),
            }
        }
        let pages = || SerializedPageReader::new(Arc::new(window.clone()), column, rows, None);
        let largest = self.within(largest, "its pages are")?;
        self.pages += largest;
        let value = match column.column_type() {
            Type::BYTE_ARRAY if has_dictionary => value.max(longest(&mut pages()?)?),
            Type::BYTE_ARRAY => value,
            Type::FIXED_LEN_BYTE_ARRAY => {
                u64::try_from(column.column_descr().type_length()).map_err(|_| odd("a type has no length"))?
            }
            _ => 16,
        };
        let (value, values) = match column.column_descr().max_rep_level() {
            0 => (value, 1),
            most => (value + ELEMENT_BYTES, most_values(&mut pages()?, most)?),
        };
        self.row = self.within(self.row.saturating_add(value.saturating_mul(values)), "a row of it may be")?;
        Ok(())
    }

    /// The number of rows to decode at a time.
    pub(super) fn batch_rows(&self) -> usize {
        (BATCH_BYTES_MAX / self.row.max(1)).clamp(1, BATCH_ROWS_MAX) as usize
    }

    fn within(&self, bytes: u64, what: &str) -> Result<u64, ParquetError> {
        match self.pages.saturating_add(bytes) <= DECODED_BYTES_MAX {
            true => Ok(bytes),
            false => {
                Err(odd(&format!("{what} larger than {} MiB, the limit for reading back", DECODED_BYTES_MAX >> 20)))
            }
        }
    }
}

// === impl Header ===

impl Header {
    /// The header at the start of `bytes`, and its length.
    fn read(bytes: &[u8]) -> Result<(Self, u64), ParquetError> {
        let mut header = Self { kind: -1, ..Self::default() };
        let mut is_sound = true;
        let mut count = |number: i64| u64::try_from(number).unwrap_or_else(|_| std::mem::take(&mut is_sound).into());
        let taken = walk(bytes, &mut |path, number| match (path, number) {
            ([1], Some(kind)) => header.kind = kind,
            ([2], Some(size)) => header.size = count(size),
            ([3], Some(size)) => header.compressed = count(size),
            ([5 | 7 | 8, 1], Some(values)) => header.values = count(values),
            ([5 | 7, 2] | [8, 4], Some(encoding)) => header.encoding = encoding,
            _ => {}
        });
        let taken = taken.filter(|_| is_sound).ok_or_else(|| odd("a page has no header"))?;
        if !matches!(header.kind, DATA | DICTIONARY | DATA_V2) || !ENCODINGS.contains(&header.encoding) {
            return Err(odd("a page is of a kind that Greyhound never writes"));
        }
        // The library allocates memory for all of them, however small the page is.
        if header.kind == DICTIONARY && header.values > header.size {
            return Err(odd("a dictionary claims more values than it has bytes"));
        }
        Ok((header, taken as u64))
    }
}

/// The length of the longest value in a column's dictionary, in plain encoding: each value after its length.
fn longest(pages: &mut dyn PageReader) -> Result<u64, ParquetError> {
    let Some(Page::DictionaryPage { buf, .. }) = pages.get_next_page()? else { return Ok(1) };
    let (mut rest, mut longest) = (buf.as_ref(), 0);
    while let Some((length, values)) = rest.split_first_chunk() {
        let length = u32::from_le_bytes(*length);
        rest = values.get(length as usize..).ok_or_else(|| odd("a dictionary ends within a value"))?;
        longest = longest.max(length.into());
    }
    Ok(longest)
}

/// The most values in one row of a column, by its repetition levels: 0 begins a row.
fn most_values(pages: &mut dyn PageReader, max_level: i16) -> Result<u64, ParquetError> {
    let mut rows = Rows::default();
    while let Some(page) = pages.get_next_page()? {
        let (levels, values) = match &page {
            Page::DataPage { buf, num_values, .. } => {
                let (length, rest) = buf.split_first_chunk().ok_or_else(|| odd("a page has no levels"))?;
                (rest.get(..u32::from_le_bytes(*length) as usize), *num_values)
            }
            Page::DataPageV2 { buf, num_values, rep_levels_byte_len, .. } => {
                (buf.get(..*rep_levels_byte_len as usize), *num_values)
            }
            Page::DictionaryPage { .. } => continue,
        };
        let bits = 16 - max_level.leading_zeros();
        levels.and_then(|levels| rows.add(levels, bits, values.into())).ok_or_else(|| odd("a page has no levels"))?;
    }
    Ok(rows.most)
}

/// Counts the values of rows.
#[derive(Default)]
struct Rows {
    /// The values of the last row so far, and the most of any row.
    last: u64,
    most: u64,
}

// === impl Rows ===

impl Rows {
    /// Continues with the levels of a page, which are in runs: repeated, or packed into `bits` each.
    fn add(&mut self, mut levels: &[u8], bits: u32, mut left: u64) -> Option<()> {
        while left > 0 {
            let head = varint(&mut levels)?;
            let run = match head & 1 {
                0 => self.repeated(&mut levels, bits, (head >> 1).min(left))?,
                _ => self.packed(&mut levels, bits as usize, (head >> 1).checked_mul(8)?, left)?,
            };
            left -= run;
        }
        Some(())
    }

    fn repeated(&mut self, levels: &mut &[u8], bits: u32, run: u64) -> Option<u64> {
        let (value, rest) = levels.split_at_checked(bits.div_ceil(8) as usize)?;
        *levels = rest;
        match value.iter().all(|byte| *byte == 0) {
            // So many rows of one value; the last of them may continue.
            true if run > 0 => self.last = 1,
            _ => self.last += run,
        }
        self.most = self.most.max(self.last);
        Some(run.max(1))
    }

    fn packed(&mut self, levels: &mut &[u8], bits: usize, run: u64, left: u64) -> Option<u64> {
        let (packed, rest) = levels.split_at_checked((usize::try_from(run).ok()? / 8).checked_mul(bits)?)?;
        *levels = rest;
        let run = run.min(left);
        for at in 0..run as usize {
            let is_zero = (at * bits..(at + 1) * bits).all(|bit| packed[bit / 8] & (1 << (bit % 8)) == 0);
            self.last = if is_zero { 1 } else { self.last + 1 };
            self.most = self.most.max(self.last);
        }
        (run > 0).then_some(run)
    }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..35).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 127) << shift;
        if *byte < 128 {
            return Some(value);
        }
    }
    None
}

fn odd(why: &str) -> ParquetError {
    ParquetError::General(why.to_owned())
}
