//! The missing rows that `greyhound.gap` records.

use super::numbers::{Range, Ranges};
use crate::compact::swap::hours_in;
use crate::layout::{Hour, parse};
use crate::read::{Blocking, ReadFailure, StoredFile};
use crate::store::staging::STAGING;
use crate::store::{StoreError, names_in};
use crate::success::SUCCESS;
use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use std::collections::HashMap;

/// The bus's table of missing rows.
const TABLE: &str = "greyhound.gap";
const COLUMNS: [&str; 3] = ["topic", "first_seq", "last_seq"];

/// Rows that are recorded as missing, by shard.
#[derive(Default)]
pub(super) struct Gaps(HashMap<String, OfShard>);

#[derive(Default)]
struct OfShard {
    /// The rows, with their topic; `None` for all topics.
    rows: Vec<(Option<String>, Range)>,
    /// The last hour that is closed.
    closed: Option<Hour>,
}

impl Gaps {
    /// Ignores files that cannot be read: they are found when their own table is verified.
    pub(super) fn read(store: &Blocking) -> Result<Self, StoreError> {
        let mut gaps = Self::default();
        for (shard, hour, directory) in directories(store, TABLE)? {
            let of_shard = gaps.0.entry(shard).or_default();
            let names = list(store, &directory)?;
            if names.iter().any(|name| name == SUCCESS) {
                of_shard.closed = of_shard.closed.max(Some(hour));
            }
            for name in names.iter().filter(|name| name.ends_with(".parquet")) {
                match read(store, format!("{directory}/{name}")) {
                    Ok(rows) => of_shard.rows.extend(rows),
                    Err(ReadFailure::Store(e)) if e.unreadable.is_none() => return Err(e),
                    Err(_) => {}
                }
            }
        }
        Ok(gaps)
    }

    pub(super) fn of(&self, topic: &str, shard: &str) -> Ranges {
        let all = self.0.get(shard).into_iter().flat_map(|of_shard| &of_shard.rows);
        Ranges::of(all.filter(|(of, _)| of.as_deref().is_none_or(|of| of == topic)).map(|(_, range)| *range).collect())
    }

    /// Whether no more records will come for rows of `shard` that are missing before a row of `hour`: a gap is recorded
    /// at the time of the rows around it.
    pub(super) fn is_closed(&self, shard: &str, hour: Hour) -> bool {
        self.0.get(shard).and_then(|of_shard| of_shard.closed) >= Some(hour)
    }
}

/// All directories of a table, with their shard and hour, including those that are being swapped.
pub(super) fn directories(store: &Blocking, table: &str) -> Result<Vec<(String, Hour, String)>, StoreError> {
    let mut found = Vec::new();
    for day in list(store, table)? {
        for hour in list(store, &format!("{table}/{day}"))? {
            let Some(at) = parse(&day, &hour) else { continue };
            for shard in list(store, &format!("{table}/{day}/{hour}"))? {
                found.push((
                    shard.trim_start_matches("shard=").to_owned(),
                    at,
                    format!("{table}/{day}/{hour}/{shard}"),
                ));
            }
        }
    }
    for shard in list(store, STAGING)? {
        let directory = format!("{STAGING}/{shard}/{table}");
        for (hour, spares) in hours_in(&list(store, &directory)?) {
            found.extend(spares.into_iter().map(|spare| (shard.clone(), hour, format!("{directory}/{spare}"))));
        }
    }
    Ok(found)
}

pub(super) fn list(store: &Blocking, path: &str) -> Result<Vec<String>, StoreError> {
    store.ask(async |store| names_in(store, path).await)
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
    Some(
        rows.filter_map(|(topic, (first, last))| Some((topic.map(str::to_owned), (first? as u64, last? as u64))))
            .collect(),
    )
}
