//! The committed rows, according to `greyhound.sink` and to the journals of nodes that answer.

use super::gaps::{directories, list};
use super::numbers::{Range, Ranges};
use super::scope::Journal;
use crate::layout::Hour;
use crate::read::{Blocking, ReadFailure, StoredFile};
use crate::record::SINK_TOPIC;
use crate::store::StoreError;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch};
use greyhound_sdk::Shard;
use std::collections::{BTreeMap, BTreeSet};

const COLUMNS: [&str; 5] = ["topic", "file_path", "first_seq", "last_seq", "hour_time"];

/// By topic and shard.
#[derive(Default)]
pub(super) struct Committed(BTreeMap<(String, String), OfShard>);

#[derive(Default)]
pub(super) struct OfShard {
    /// The rows of each file, and where it was.
    files: Vec<(Range, String)>,
    /// The number after the last row that its node committed, according to its journal.
    pub(super) journal: Option<u64>,
}

impl Committed {
    /// The rows of the hours that are `wanted`. Ignores files that cannot be read: they are found when their own table
    /// is verified.
    pub(super) fn read(
        store: &Blocking,
        journals: &[Journal],
        wanted: impl Fn(Hour) -> bool,
    ) -> Result<Self, StoreError> {
        let mut committed = Self::default();
        for (shard, _, directory) in directories(store, SINK_TOPIC)? {
            let names = list(store, &directory)?;
            for name in names.iter().filter(|name| name.ends_with(".parquet")) {
                let files = match read(store, format!("{directory}/{name}")) {
                    Ok(files) => files,
                    Err(ReadFailure::Store(e)) if e.unreadable.is_none() => return Err(e),
                    Err(_) => continue,
                };
                for (topic, path, rows, _) in files.into_iter().filter(|file| wanted(file.3)) {
                    committed.0.entry((topic, shard.clone())).or_default().files.push((rows, path));
                }
            }
        }
        for Journal { shard, topic, committed: end, .. } in journals.iter().filter(|journal| journal.committed > 0) {
            committed.0.entry((topic.clone(), shard.clone())).or_default().journal = Some(*end);
        }
        Ok(committed)
    }

    pub(super) fn of(&self, topic: &str, shard: &Shard) -> Option<&OfShard> {
        self.0.get(&(topic.to_owned(), shard.to_string()))
    }

    pub(super) fn topics(&self) -> BTreeSet<String> {
        self.0.keys().map(|(topic, _)| topic.clone()).collect()
    }

    pub(super) fn shards(&self, topic: &str) -> impl Iterator<Item = Shard> {
        self.0.keys().filter(move |(of, _)| of == topic).filter_map(|(_, shard)| shard.parse().ok())
    }
}

impl OfShard {
    /// All rows that were committed.
    pub(super) fn rows(&self) -> Ranges {
        Ranges::of(self.files.iter().map(|(rows, _)| *rows).collect())
    }

    /// A file to which one of the rows was committed.
    pub(super) fn file_with(&self, (first, last): Range) -> Option<&str> {
        self.files.iter().find(|((begin, end), _)| *begin <= last && *end >= first).map(|(_, path)| path.as_str())
    }
}

type File = (String, String, Range, Hour);

fn read(store: &Blocking, path: String) -> Result<Vec<File>, ReadFailure> {
    let file = StoredFile::open(store, path)?;
    let mut files = Vec::new();
    for group in file.groups() {
        for rows in file.rows(group, Some(&COLUMNS))? {
            files.extend(of_rows(&rows?).ok_or_else(|| file.damaged("its columns are not those of greyhound.sink"))?);
        }
    }
    Ok(files)
}

fn of_rows(rows: &RecordBatch) -> Option<Vec<File>> {
    let [topic, path, first, last, hour] = COLUMNS.map(|name| rows.column_by_name(name));
    let (topic, path) = (topic?.as_string_opt::<i32>()?, path?.as_string_opt::<i32>()?);
    let (first, last) = (first?.as_primitive_opt::<Int64Type>()?, last?.as_primitive_opt::<Int64Type>()?);
    let hour = hour?.as_primitive_opt::<TimestampMicrosecondType>()?;
    let file = |at: usize| {
        let rows = (first.value(at) as u64, last.value(at) as u64);
        (topic.value(at).to_owned(), path.value(at).to_owned(), rows, Hour::of(hour.value(at)))
    };
    Some((0..topic.len()).map(file).collect())
}
