//! Rewrites a closed hour's files into as few as possible, sorted so that a query by user reads little of them.

use crate::encode::{Encodings, Footer, Part, properties};
use crate::layout::file_name;
use crate::read::{Blocking, ReadFailure, StoredFile};
use crate::success::{SUCCESS, Success};
use crate::value_digests::ValueDigests;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, RecordBatch, StringArray};
use arrow_schema::{ArrowError, DataType, Schema};
use arrow_select::concat::concat_batches;
use arrow_select::interleave::interleave_record_batch;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;

/// The rows that are sorted at a time, or the bytes of memory, whichever limit is reached first.
const RUN_ROWS: usize = 4 << 20;
const RUN_BYTES: usize = 128 << 20;
/// The rows of a row group: few enough that a user's rows, which are adjacent in each run, are in few groups.
const GROUP_ROWS: usize = 128 << 10;
/// The average bytes that are copied at a time in the new order, because the writer needs them in one piece.
const COPIED_BYTES: usize = 16 << 20;
/// Large rows come in small batches, which are joined up to this size because each batch has a cost.
const JOINED_BYTES: usize = 1 << 20;
const JOINED_ROWS: usize = 4 << 10;

/// Why a directory is not rewritten.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RewriteError {
    #[error(transparent)]
    Read(#[from] ReadFailure),
    #[error("its rows cannot be encoded: {0}")]
    Encode(#[from] ParquetError),
    #[error("its rows cannot be sorted: {0}")]
    Sort(#[from] ArrowError),
    /// The memory of this machine, or this program, is at fault.
    #[error("values of {} changed while its rows were sorted: see whether this machine's memory is sound", .0.join(", "))]
    Changed(Vec<String>),
    /// Nobody waits for the result any more.
    #[error("it is no longer wanted")]
    Cancelled,
}

/// Rewrites one directory into another.
pub(crate) struct Rewrite<'a> {
    pub(crate) store: &'a Blocking,
    /// The closed hour's directory, and its `_SUCCESS`.
    pub(crate) source: &'a str,
    pub(crate) success: &'a Success,
    /// The new directory.
    pub(crate) target: &'a str,
    /// The approximate size of its files.
    pub(crate) file_size: u64,
    pub(crate) encodings: Encodings,
    pub(crate) is_cancelled: &'a dyn Fn() -> bool,
}

/// An unfinished file.
struct Output {
    writer: ArrowWriter<Vec<u8>>,
    schema: String,
    parts: Vec<Part>,
    rows: u64,
    /// Of the rows as they were read, and as they are written.
    read: ValueDigests,
    written: ValueDigests,
    run: Run,
    /// The size of the files whose rows are in the run.
    waiting: u64,
}

/// Rows to be sorted together.
struct Run {
    /// The column by which they are sorted, then by number.
    key: Option<usize>,
    batches: Vec<RecordBatch>,
    /// Small batches to be joined, and their bytes.
    small: Vec<RecordBatch>,
    small_bytes: usize,
    rows: usize,
    bytes: usize,
}

// === impl Rewrite ===

impl Rewrite<'_> {
    /// Writes the complete new directory, `_SUCCESS` last. After an error, the directory is useless.
    pub(crate) fn run(&self) -> Result<(), RewriteError> {
        let (mut output, mut written): (Option<Output>, _) = (None, Vec::new());
        for (first, last) in &self.success.files {
            let file = StoredFile::open(self.store, format!("{}/{}", self.source, file_name(*first)))?;
            if (file.footer.first, file.footer.last, &file.footer.shard) != (*first, *last, &self.success.shard) {
                return Err(file.damaged("its footer is not that of the file in _SUCCESS").into());
            }
            if let Some(full) = output.take_if(|output| !output.takes(&file, self.file_size)) {
                written.push(self.finish(full)?);
            }
            let output = match &mut output {
                Some(open) => open,
                none => none.insert(Output::new(&file, self.encodings)?),
            };
            self.copy(&file, output)?;
        }
        if let Some(last) = output {
            written.push(self.finish(last)?);
        }
        let success = Success { files: written, compacted: true, ..self.success.clone() };
        let text = serde_json::to_vec_pretty(&success).map_err(|e| ParquetError::External(e.into()))?;
        self.write(SUCCESS, text.into())
    }

    /// Copies all rows of a file, and checks them against its footer.
    fn copy(&self, file: &StoredFile, output: &mut Output) -> Result<(), RewriteError> {
        let (mut next, mut rows, mut values) = (file.footer.first, 0, ValueDigests::default());
        for group in file.groups() {
            for batch in file.rows(group, None)? {
                if (self.is_cancelled)() {
                    return Err(RewriteError::Cancelled);
                }
                let batch = batch?;
                let seqs = batch.columns().first().and_then(|seqs| seqs.as_primitive_opt::<Int64Type>());
                for seq in seqs.ok_or_else(|| file.damaged("it has no column seq of whole numbers"))?.values() {
                    if (*seq as u64) < next {
                        return Err(file.damaged(&format!("seq {seq} is not in its place")).into());
                    }
                    next = *seq as u64 + 1;
                }
                rows += batch.num_rows() as u64;
                values.add(&batch)?;
                output.add(batch)?;
            }
        }
        if (next, rows) != (file.footer.last + 1, file.footer.rows) {
            return Err(file.damaged("its rows are not those that its footer tells of").into());
        }
        let changed = file.changed(&values);
        if !changed.is_empty() {
            let why = format!("values of {} changed after they were committed", changed.join(", "));
            return Err(file.damaged(&format!("{why}: see `greyhound tables verify --values`")).into());
        }
        output.end(&file.footer, file.length, &values);
        Ok(())
    }

    fn finish(&self, output: Output) -> Result<(u64, u64), RewriteError> {
        let (bytes, footer) = output.finish(&self.success.shard)?;
        self.write(&file_name(footer.first), bytes)?;
        Ok((footer.first, footer.last))
    }

    fn write(&self, name: &str, bytes: Bytes) -> Result<(), RewriteError> {
        if (self.is_cancelled)() {
            return Err(RewriteError::Cancelled);
        }
        let path = format!("{}/{name}", self.target);
        Ok(self.store.ask(async |store| store.write(&path, bytes).await).map_err(ReadFailure::from)?)
    }
}

// === impl Output ===

impl Output {
    fn new(file: &StoredFile, encodings: Encodings) -> Result<Self, ParquetError> {
        let schema = file.schema();
        let properties =
            properties(schema, encodings).into_builder().set_max_row_group_row_count(Some(GROUP_ROWS)).build();
        let writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties))?;
        let run = Run::new(key(schema));
        let (read, written) = Default::default();
        let schema = file.footer.schema.clone();
        Ok(Self { writer, schema, parts: Vec::new(), rows: 0, read, written, run, waiting: 0 })
    }

    /// Whether a file's rows can be added: the same schema, and enough room.
    fn takes(&self, file: &StoredFile, file_size: u64) -> bool {
        let size = self.writer.bytes_written() as u64 + self.waiting + file.length;
        self.schema == file.footer.schema && size <= file_size
    }

    fn add(&mut self, batch: RecordBatch) -> Result<(), RewriteError> {
        self.run.add(batch)?;
        match self.run.rows >= RUN_ROWS || self.run.bytes >= RUN_BYTES {
            true => self.write_run(),
            false => Ok(()),
        }
    }

    /// Ends a part after all its rows were added.
    fn end(&mut self, footer: &Footer, length: u64, values: &ValueDigests) {
        self.read.merge(values);
        self.parts.push(Part(footer.first, footer.last, footer.digest.clone()));
        self.rows += footer.rows;
        self.waiting += if self.run.rows == 0 { 0 } else { length };
    }

    fn write_run(&mut self) -> Result<(), RewriteError> {
        self.waiting = 0;
        self.run.join()?;
        for rows in self.run.sorted() {
            let rows = rows?;
            self.written.add(&rows)?;
            self.writer.write(&rows)?;
        }
        // A row group has only rows of one run.
        self.writer.flush()?;
        self.run = Run::new(self.run.key);
        Ok(())
    }

    fn finish(mut self, shard: &str) -> Result<(Bytes, Footer), RewriteError> {
        self.write_run()?;
        let changed = self.written.differing(&self.read);
        if !changed.is_empty() {
            return Err(RewriteError::Changed(changed));
        }
        let footer = Footer::of_parts(shard, &self.schema, self.rows, self.parts, self.written);
        footer.write(&mut self.writer);
        Ok((self.writer.into_inner()?.into(), footer))
    }
}

// === impl Run ===

impl Run {
    fn new(key: Option<usize>) -> Self {
        Self { key, batches: Vec::new(), small: Vec::new(), small_bytes: 0, rows: 0, bytes: 0 }
    }

    fn add(&mut self, batch: RecordBatch) -> Result<(), ArrowError> {
        let bytes = batch.get_array_memory_size();
        self.rows += batch.num_rows();
        self.bytes += bytes;
        if batch.num_rows() >= JOINED_ROWS {
            self.join()?;
            self.batches.push(batch);
            return Ok(());
        }
        self.small_bytes += bytes;
        self.small.push(batch);
        if self.small_bytes >= JOINED_BYTES { self.join() } else { Ok(()) }
    }

    fn join(&mut self) -> Result<(), ArrowError> {
        if let Some(first) = self.small.first() {
            self.batches.push(concat_batches(&first.schema(), &self.small)?);
        }
        (self.small, self.small_bytes) = (Vec::new(), 0);
        Ok(())
    }

    /// Its rows in order, in pieces no larger than a row group.
    fn sorted(&self) -> impl Iterator<Item = Result<RecordBatch, ArrowError>> {
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        let order = self.order();
        let piece = (COPIED_BYTES / (self.bytes / self.rows.max(1)).max(1)).clamp(1, GROUP_ROWS);
        (0..order.len())
            .step_by(piece)
            .map(move |at| interleave_record_batch(&batches, &order[at..order.len().min(at + piece)]))
    }

    /// Batch and index of each row, sorted by key, nulls first, then by number, the original order.
    fn order(&self) -> Vec<(usize, usize)> {
        let places =
            self.batches.iter().enumerate().flat_map(|(at, batch)| (0..batch.num_rows()).map(move |row| (at, row)));
        let mut order: Vec<_> = places.collect();
        if let Some(key) = self.key {
            let keys: Vec<&StringArray> = self.batches.iter().map(|batch| batch.column(key).as_string()).collect();
            order.sort_by_key(|(at, row)| keys[*at].is_valid(*row).then(|| keys[*at].value(*row)));
        }
        order
    }
}

/// The column by which queries look up rows: the first one with a bloom filter.
fn key(schema: &Schema) -> Option<usize> {
    schema.fields().iter().position(|field| field.data_type() == &DataType::Utf8 && field.name().ends_with("_id"))
}
