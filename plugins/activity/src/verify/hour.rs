//! One hour of a shard.

use super::finding::Finding;
use super::numbers::{Numbers, Range, Ranges, rows_shown};
use super::scope::Depth;
use super::stray;
use crate::compact::swap::hours_in;
use crate::layout::{Hour, directory, file_name};
use crate::read::{Blocking, ReadFailure, StoredFile};
use crate::store::staging::STAGING;
use crate::store::{StoreError, names_in};
use crate::success::{SUCCESS, Success, complete};
use crate::value_digests::ValueDigests;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use greyhound_sdk::Shard;

/// So often an hour is checked if it changes during the check.
const LOOKS_MAX: usize = 10;
/// The columns that identify rows.
const ROW_COLUMNS: &[&str] = &["seq", "time"];
/// The finding for an invalid `_SUCCESS`, with the remedy.
const UNREADABLE: &str = "it cannot be read. Stop the shard's node, remove this file, and start the node: it makes a new one, unless a later \
                          hour has one";

/// The hour to check, and how closely.
pub(super) struct Subject<'a> {
    pub(super) topic: &'a str,
    pub(super) shard: &'a Shard,
    pub(super) hour: Hour,
    pub(super) depth: Depth,
    /// The oldest row in its node's journal, if known.
    pub(super) earliest: Option<u64>,
}

/// What was found in an hour's directory.
#[derive(Default)]
pub(super) struct Look {
    pub(super) directory: String,
    pub(super) success: Option<Success>,
    /// Whether there is a `_SUCCESS`, valid or not.
    pub(super) is_marked: bool,
    pub(super) files: u64,
    /// The number of files whose values cannot be checked.
    pub(super) unchecked: u64,
    pub(super) rows: u64,
    pub(super) numbers: Ranges,
    pub(super) findings: Vec<Finding>,
}

/// Where an hour's rows are now.
#[derive(PartialEq)]
struct Place {
    directory: String,
    names: Vec<String>,
    /// Files of a compacted hour may have the same names as those before.
    is_compacted: bool,
}

impl Look {
    /// Checks an hour, again if it changed meanwhile.
    pub(super) fn at(store: &Blocking, subject: &Subject, progress: &dyn Fn(&str)) -> Result<Self, StoreError> {
        let mut place = Place::of(store, subject)?;
        let mut looks = 0;
        loop {
            progress(&place.directory);
            let look = Self::in_place(store, &place, subject);
            looks += 1;
            let now = Place::of(store, subject)?;
            let is_well = look.as_ref().is_ok_and(|look| look.findings.is_empty() && look.success.is_some());
            if is_well || now == place || looks == LOOKS_MAX {
                return look;
            }
            place = now;
        }
    }

    fn in_place(store: &Blocking, place: &Place, subject: &Subject) -> Result<Self, StoreError> {
        let Subject { topic, shard, .. } = *subject;
        let directory = place.directory.as_str();
        let success = store.ask(async |store| Success::read(store, directory).await)?;
        let (files, others): (Vec<_>, Vec<_>) = place.names.iter().partition(|name| is_file_name(name));
        let is_marked = others.iter().any(|name| *name == SUCCESS);
        let mut look = Self { directory: directory.to_owned(), is_marked, ..Self::default() };
        look.findings.extend(stray::among(store, directory, others)?);
        let mut ranges: Vec<Range> = Vec::new();
        let mut by_file: Vec<(Range, String)> = Vec::new();
        for name in &files {
            let path = format!("{directory}/{name}");
            // A second time, because the store may fail once.
            match read(store, &path, name, subject).or_else(|_| read(store, &path, name, subject)) {
                Ok(file) => {
                    look.findings.extend(file.misplaced.map(|why| Finding::Damaged { why: format!("{path}: {why}") }));
                    look.unchecked += u64::from(file.is_unchecked);
                    if !file.changed.is_empty() {
                        let (file, columns, rows) = (path.clone(), file.changed, (file.first, file.last));
                        look.findings.push(Finding::Changed { file, columns, rows, earliest: subject.earliest });
                    }
                    look.findings.extend(file.doubles.into_iter().map(|rows| Finding::Double {
                        rows,
                        file: path.clone(),
                        other: path.clone(),
                    }));
                    for rows in file.numbers.common(&look.numbers) {
                        let other = by_file.iter().find(|((first, last), _)| (*first..=*last).contains(&rows.0));
                        let other = other.map(|it| it.1.clone()).unwrap_or_default();
                        look.findings.push(Finding::Double { rows, file: path.clone(), other });
                    }
                    ranges.push((file.first, file.last));
                    by_file.push(((file.first, file.last), path));
                    look.rows += file.rows;
                    look.numbers.add(&file.numbers);
                }
                Err(ReadFailure::Damaged { path, why }) => {
                    look.findings.push(Finding::Damaged { why: format!("{path}: {why}") })
                }
                Err(ReadFailure::Store(e)) => look.findings.push(Finding::Damaged { why: e.to_string() }),
            }
            look.files += 1;
        }
        let untrue = |why: String| Finding::Untrue { directory: directory.to_owned(), why };
        match &success {
            Some(success) if (success.topic.as_str(), success.shard.as_str()) != (topic, shard.as_str()) => {
                look.findings.push(untrue(format!("it is of shard {} in {}", success.shard, success.topic)));
            }
            Some(success) => {
                look.findings.extend(disagreements(success, &files, &ranges, look.rows).into_iter().map(untrue))
            }
            None if is_marked => look.findings.push(untrue(UNREADABLE.to_owned())),
            None => {}
        }
        Ok(Self { success, ..look })
    }
}

impl Place {
    /// The hour's directory in the table; if that is incomplete because of a swap, a complete one in staging.
    fn of(store: &Blocking, subject: &Subject) -> Result<Self, StoreError> {
        let Subject { topic, shard, hour, .. } = *subject;
        let mut place = directory(topic, hour, shard);
        let success = |path: &str| store.ask(async |store| complete(store, path).await);
        let mut found = success(&place)?;
        if found.is_none() {
            let staging = format!("{STAGING}/{shard}/{topic}");
            let names = store.ask(async |store| names_in(store, &staging).await)?;
            let spares: Vec<String> =
                hours_in(&names).filter(|(at, _)| *at == hour).flat_map(|(_, names)| names).collect();
            for spare in spares {
                let path = format!("{staging}/{spare}");
                found = success(&path)?;
                if found.is_some() {
                    place = path;
                    break;
                }
            }
        }
        let names = store.ask(async |store| store.list(&place).await)?;
        Ok(Self { directory: place, names, is_compacted: found.is_some_and(|success| success.compacted) })
    }
}

/// What was found in a file.
struct FileLook {
    first: u64,
    last: u64,
    rows: u64,
    numbers: Ranges,
    doubles: Vec<Range>,
    /// Where misplaced rows belong.
    misplaced: Option<String>,
    /// The columns whose values changed after they were committed.
    changed: Vec<String>,
    /// Whether its values should be checked, but its footer has no digests.
    is_unchecked: bool,
}

fn read(store: &Blocking, path: &str, name: &str, subject: &Subject) -> Result<FileLook, ReadFailure> {
    let Subject { shard, hour, depth, .. } = *subject;
    let file = StoredFile::open(store, path.to_owned())?;
    let footer = &file.footer;
    if file_name(footer.first) != name || footer.shard != shard.as_str() {
        return Err(
            file.damaged(&format!("by its footer it begins with row {} of shard {}", footer.first, footer.shard))
        );
    }
    let reads_values = depth == Depth::Values && footer.values.is_some();
    let columns = if reads_values { None } else { Some(ROW_COLUMNS) };
    let (mut numbers, mut doubles, mut rows, mut misplaced) = (Numbers::default(), Vec::new(), 0, None);
    let mut values = ValueDigests::default();
    for group in file.groups() {
        for batch in file.rows(group, columns)? {
            let batch = batch?;
            if reads_values {
                values.add(&batch).map_err(|e| file.damaged(&e.to_string()))?;
            }
            let mut hours = file.column::<TimestampMicrosecondType>(&batch, "time")?.iter().map(|time| Hour::of(*time));
            misplaced = misplaced.or_else(|| hours.find(|there| *there != hour));
            for seq in file.column::<Int64Type>(&batch, "seq")? {
                if !numbers.insert(*seq as u64) {
                    doubles.push((*seq as u64, *seq as u64));
                }
            }
            rows += batch.num_rows() as u64;
        }
    }
    let numbers = numbers.ranges();
    let found = (numbers.first(), numbers.last(), rows);
    if found != (Some(footer.first), Some(footer.last), footer.rows) {
        return Err(file.damaged(&format!(
            "its footer tells of {} rows, {} to {}; there are {rows}, {}",
            footer.rows,
            footer.first,
            footer.last,
            rows_shown(found.0.zip(found.1))
        )));
    }
    let misplaced = misplaced
        .map(|hour| format!("by their time, rows in it belong into {}/{}: move it there", hour.day(), hour.name()));
    Ok(FileLook {
        first: footer.first,
        last: footer.last,
        rows,
        numbers,
        doubles: Ranges::of(doubles).as_slice().to_vec(),
        misplaced,
        changed: if reads_values { file.changed(&values) } else { Vec::new() },
        is_unchecked: depth == Depth::Values && !reads_values,
    })
}

/// Contradictions between `_SUCCESS` and the files.
fn disagreements(success: &Success, files: &[&String], ranges: &[Range], rows: u64) -> Vec<String> {
    let named: Vec<String> = success.names().collect();
    let missing = named.iter().filter(|name| !files.contains(name)).map(|name| format!("{name} is missing"));
    let unnamed = files.iter().filter(|name| !named.contains(name)).map(|name| format!("it does not tell of {name}"));
    let mut found: Vec<String> = missing.chain(unnamed).collect();
    if found.is_empty() && success.files != ranges {
        let shown = |ranges: &[Range]| rows_shown(ranges.iter().copied());
        found.push(format!("it tells of files with rows {}; there are {}", shown(&success.files), shown(ranges)));
    }
    if found.is_empty() && success.rows != rows {
        found.push(format!("it tells of {} rows; there are {rows}", success.rows));
    }
    found
}

/// Whether the sink gives such names to files.
fn is_file_name(name: &str) -> bool {
    name.strip_suffix(".parquet").and_then(|first| first.parse().ok()).is_some_and(|first| file_name(first) == name)
}
