//! What `greyhound.gap` tells of.

use super::numbers::{Range, Ranges};
use crate::read::{Blocking, ReadFailure, StoredFile};
use crate::store::StoreError;
use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use std::collections::HashMap;

/// The bus's table of what is missing.
const TABLE: &str = "greyhound.gap";
const COLUMNS: [&str; 3] = ["topic", "first_seq", "last_seq"];

/// Rows that are recorded as missing, by shard, with their topic; none: of any.
pub(super) struct Gaps(HashMap<String, Vec<(Option<String>, Range)>>);

impl Gaps {
    /// A file that cannot be read tells of nothing here; it is found when its own table is verified.
    pub(super) fn read(store: &Blocking) -> Result<Self, StoreError> {
        let mut gaps: HashMap<String, Vec<_>> = HashMap::new();
        for day in list(store, TABLE, "dt=")? {
            for hour in list(store, &format!("{TABLE}/{day}"), "hour=")? {
                for shard in list(store, &format!("{TABLE}/{day}/{hour}"), "shard=")? {
                    let directory = format!("{TABLE}/{day}/{hour}/{shard}");
                    let known = gaps.entry(shard.trim_start_matches("shard=").to_owned()).or_default();
                    for name in list(store, &directory, "")?.iter().filter(|name| name.ends_with(".parquet")) {
                        match read(store, format!("{directory}/{name}")) {
                            Ok(rows) => known.extend(rows),
                            Err(ReadFailure::Store(e)) => return Err(e),
                            Err(ReadFailure::Damaged { .. }) => {}
                        }
                    }
                }
            }
        }
        Ok(Self(gaps))
    }

    pub(super) fn of(&self, topic: &str, shard: &str) -> Ranges {
        let all = self.0.get(shard).into_iter().flatten();
        Ranges::of(all.filter(|(of, _)| of.as_deref().is_none_or(|of| of == topic)).map(|(_, range)| *range).collect())
    }
}

/// What in a directory has a name that begins with `prefix`; nothing where it is a file.
fn list(store: &Blocking, path: &str, prefix: &str) -> Result<Vec<String>, StoreError> {
    let mut names = match store.ask(async |store| store.list(path).await) {
        Err(e) if e.is_obstacle() => Vec::new(),
        listed => listed?,
    };
    names.retain(|name| name.starts_with(prefix));
    Ok(names)
}

fn read(store: &Blocking, path: String) -> Result<Vec<(Option<String>, Range)>, ReadFailure> {
    let file = StoredFile::open(store, path)?;
    let mut gaps = Vec::new();
    for group in file.groups() {
        for rows in file.rows(group, Some(&COLUMNS))? {
            gaps.extend(of_rows(&rows?).ok_or_else(|| file.damaged("its columns are not those of greyhound.gap"))?);
        }
    }
    Ok(gaps)
}

fn of_rows(rows: &RecordBatch) -> Option<Vec<(Option<String>, Range)>> {
    let [topic, first, last] = COLUMNS.map(|name| rows.column_by_name(name));
    let topic = topic?.as_string_opt::<i32>()?;
    let (first, last) = (first?.as_primitive_opt::<Int64Type>()?, last?.as_primitive_opt::<Int64Type>()?);
    let rows = topic.iter().zip(first.iter().zip(last.iter()));
    Some(rows.filter_map(|(topic, (first, last))| Some((topic.map(str::to_owned), (first? as u64, last? as u64)))).collect())
}
