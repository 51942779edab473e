//! `greyhound tables verify`: proves from the store alone that no row is missing and none is there twice.
//!
//! Of each file the column `seq` is read, hour by hour; what is kept is a bit for each row of one file, and a few ranges for
//! each hour. The sink may go on meanwhile: an hour whose directory changed while it was looked at is looked at again.

mod finding;
mod foreign;
mod gaps;
mod hour;
mod numbers;

pub use finding::Finding;
pub use numbers::Range;

use crate::compact::swap::hours_in;
use crate::hours::{LONGEST_DOWNTIME_HOURS, Success, parse};
use crate::read::Blocking;
use crate::roll::Hour;
use crate::store::staging::STAGING;
use crate::store::{Passing, Store, StoreError, Trouble};
use foreign::foreign;
use gaps::Gaps;
use greyhound_sdk::Shard;
use hour::Look;
use numbers::Ranges;
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::Arc;

/// What is verified.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// These tables; none: all that there are.
    pub topics: Vec<String>,
    /// This day alone.
    pub day: Option<Day>,
    /// Old days may have been removed: a shard need not begin with its first row.
    pub retained: bool,
}

/// A day, UTC, as a table's directories name it: `dt=YYYY-MM-DD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Day(String);

/// A text is no day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a day, such as 2026-05-10")]
pub struct NotADay;

impl FromStr for Day {
    type Err = NotADay;

    fn from_str(text: &str) -> Result<Self, NotADay> {
        let directory = format!("dt={text}");
        is_day(&directory).then_some(Self(directory)).ok_or(NotADay)
    }
}

/// Whether a directory in a table is that of a day.
fn is_day(directory: &str) -> bool {
    parse(directory, "hour=00").is_some_and(|begin| begin.day() == directory)
}

/// What was found of a shard in a table.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The table.
    pub topic: String,
    /// The shard.
    pub shard: String,
    /// Its hours that are closed.
    pub closed: u64,
    /// Its files.
    pub files: u64,
    /// Its rows.
    pub rows: u64,
    /// The first and the last row; none where there is no row.
    pub range: Option<Range>,
    /// How many numbers are missing and recorded as such.
    pub recorded: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// Verifies tables; `progress` is told the directories that are looked at, `report` what was found of each shard.
///
/// # Errors
/// Where the store cannot be read.
pub async fn verify(
    store: Arc<dyn Store>,
    scope: Scope,
    progress: impl Fn(&str) + Send + 'static,
    report: impl FnMut(Report) + Send + 'static,
) -> Result<(), StoreError> {
    let store = Blocking::new(store);
    let mut verifier = Verifier { store, begins: scope.day.is_none() && !scope.retained, day: scope.day, progress, report };
    let done = tokio::task::spawn_blocking(move || verifier.tables(&scope.topics)).await;
    done.unwrap_or_else(|e| Err(Trouble::passing(Passing::Other, e).at("verify", "the tables")))
}

struct Verifier<P, R> {
    store: Blocking,
    day: Option<Day>,
    /// Whether all tables begin with row 0.
    begins: bool,
    progress: P,
    report: R,
}

impl<P: Fn(&str), R: FnMut(Report)> Verifier<P, R> {
    fn tables(&mut self, topics: &[String]) -> Result<(), StoreError> {
        let mut all = self.list("")?.unwrap_or_default();
        all.retain(|name| !name.starts_with(['_', '.']) && (topics.is_empty() || topics.contains(name)));
        for topic in &all {
            let (shards, foreign) = self.shards(topic)?;
            let is_table = !shards.is_empty();
            for (shard, hours) in shards {
                let report = self.shard(topic, &shard, &hours)?;
                (self.report)(report);
            }
            // Beside the tables there may be others' directories.
            if !foreign.is_empty() && (is_table || topics.contains(topic)) {
                (self.report)(Report { topic: topic.clone(), shard: "-".to_owned(), findings: foreign, ..Report::default() });
            }
        }
        Ok(())
    }

    /// The shards that have directories in a table, or in staging, and their hours; and what is no part of the table.
    fn shards(&self, topic: &str) -> Result<(BTreeMap<Shard, BTreeSet<Hour>>, Vec<Finding>), StoreError> {
        let mut shards: BTreeMap<Shard, BTreeSet<Hour>> = BTreeMap::new();
        let mut others = Vec::new();
        let wanted = |day: &str| self.day.as_ref().is_none_or(|only| day == only.0);
        for day in self.list(topic)?.unwrap_or_default().into_iter().filter(|day| wanted(day)) {
            let in_table = format!("{topic}/{day}");
            (self.progress)(&in_table);
            let Some(names) = self.list(&in_table)?.filter(|_| is_day(&day)) else {
                others.push(in_table);
                continue;
            };
            for name in names {
                let in_day = format!("{in_table}/{name}");
                let hour = parse(&day, &name).filter(|hour| hour.name() == name);
                let Some((hour, names)) = hour.zip(self.list(&in_day)?) else {
                    others.push(in_day);
                    continue;
                };
                for name in names {
                    match name.strip_prefix("shard=").map(str::parse) {
                        Some(Ok(shard)) => drop(shards.entry(shard).or_default().insert(hour)),
                        _ => others.push(format!("{in_day}/{name}")),
                    }
                }
            }
        }
        let mut findings = Vec::new();
        for path in others {
            findings.extend(foreign(&self.store, &path)?);
        }
        // An hour that is just being swapped has no directory in the table.
        for shard in self.list(STAGING)?.unwrap_or_default().into_iter().filter_map(|name| name.parse::<Shard>().ok()) {
            let names = self.list(&format!("{STAGING}/{shard}/{topic}"))?.unwrap_or_default();
            let hours = hours_in(&names).map(|(hour, _)| hour).filter(|hour| wanted(&hour.day()));
            for hour in hours {
                shards.entry(shard.clone()).or_default().insert(hour);
            }
        }
        Ok((shards, findings))
    }

    fn shard(&self, topic: &str, shard: &Shard, hours: &BTreeSet<Hour>) -> Result<Report, StoreError> {
        let mut report = Report { topic: topic.to_owned(), shard: shard.to_string(), ..Report::default() };
        let (mut all, mut before): (Sofar, Option<(Hour, Success)>) = (Sofar::default(), None);
        let mut open = Vec::new();
        for hour in hours {
            let place = crate::commit::directory(topic, *hour, shard);
            if self.list(&place)?.is_none() {
                report.findings.push(Finding::Foreign { path: place });
                continue;
            }
            let look = Look::at(&self.store, topic, shard, *hour, &self.progress)?;
            report.files += look.files;
            report.rows += look.rows;
            all.add(&look, &mut report.findings);
            match look.success {
                // Retention has removed it meanwhile.
                None if look.is_closed => {
                    report.findings.extend(open.drain(..).map(|directory| Finding::Open { directory }));
                    before = None;
                }
                None if look.files == 0 && before.is_none() => {}
                None => open.push(look.directory),
                Some(success) => {
                    report.findings.extend(open.drain(..).map(|directory| Finding::Open { directory }));
                    report.findings.extend(unclosed(topic, shard, before.as_ref().map(|it| it.0), *hour));
                    let next = before.filter(|(at, _)| at.0 + 1 == hour.0).map(|(_, success)| success.next);
                    report.findings.extend(agrees(&success, next, &look.numbers, &look.directory));
                    report.closed += 1;
                    before = Some((*hour, success));
                }
            }
            report.findings.extend(look.findings);
        }
        report.range = all.rows.first().zip(all.rows.last());
        let holes = report.range.map(|(first, last)| all.rows.holes(if self.begins { 0 } else { first }, last)).unwrap_or_default();
        if !holes.is_empty() {
            // Read after the rows: what was shed meanwhile is told there.
            let gaps = Gaps::read(&self.store)?.of(topic, shard.as_str());
            for hole in holes {
                report.recorded += gaps.common(&Ranges::of(vec![hole])).iter().map(|(first, last)| last - first + 1).sum::<u64>();
                let unrecorded = gaps.holes(hole.0, hole.1 + 1);
                report.findings.extend(
                    unrecorded.into_iter().map(|rows| Finding::Missing { rows, after: hole.0.checked_sub(1).map(|row| all.place_of(row)) }),
                );
            }
        }
        Ok(report)
    }

    /// The names in a directory; none where it is a file.
    fn list(&self, path: &str) -> Result<Option<Vec<String>>, StoreError> {
        match self.store.ask(async |store| store.list(path).await) {
            Err(e) if e.is_obstacle() => Ok(None),
            listed => listed.map(Some),
        }
    }
}

/// The rows of a shard so far.
#[derive(Default)]
struct Sofar {
    rows: Ranges,
    /// First and last row of each hour, and its directory.
    hours: Vec<(Range, String)>,
}

impl Sofar {
    fn add(&mut self, look: &Look, findings: &mut Vec<Finding>) {
        for rows in look.numbers.common(&self.rows) {
            findings.push(Finding::Double { rows, file: look.directory.clone(), other: self.place_of(rows.0) });
        }
        self.rows.add(&look.numbers);
        if let Some(range) = look.numbers.first().zip(look.numbers.last()) {
            self.hours.push((range, look.directory.clone()));
        }
    }

    /// The directory of the hour that has a row.
    fn place_of(&self, row: u64) -> String {
        let hour = self.hours.iter().find(|((first, last), _)| (*first..=*last).contains(&row));
        hour.map(|(_, place)| place.clone()).unwrap_or_default()
    }
}

/// The hours between two closed ones that have no directory, as if they had one.
fn unclosed(topic: &str, shard: &Shard, before: Option<Hour>, hour: Hour) -> impl Iterator<Item = Finding> {
    let from = before.filter(|before| hour.0 - before.0 <= LONGEST_DOWNTIME_HOURS).map_or(hour.0, |before| before.0 + 1);
    let missing = |at: i64| Finding::Open { directory: crate::commit::directory(topic, Hour(at), shard) };
    (from..hour.0).map(missing).collect::<Vec<_>>().into_iter()
}

/// Where a `_SUCCESS` does not agree with the rows; `next` is what the hour before says.
fn agrees(success: &Success, next: Option<u64>, numbers: &Ranges, directory: &str) -> Option<Finding> {
    let untrue = |why: String| Some(Finding::Untrue { directory: directory.to_owned(), why });
    if (success.first, success.last) != (numbers.first(), numbers.last()) {
        return untrue(format!(
            "it tells of rows {:?} to {:?}; there are {:?} to {:?}",
            success.first,
            success.last,
            numbers.first(),
            numbers.last()
        ));
    }
    let next = next?;
    let gaps = numbers.holes(next, numbers.last().map_or(next, |last| last + 1));
    if success.gaps != gaps {
        return untrue(format!("it tells of gaps {:?}; there are {gaps:?}", success.gaps));
    }
    let end = numbers.last().map_or(next, |last| last + 1);
    if success.next != end { untrue(format!("it tells that row {} is the next; it is {end}", success.next)) } else { None }
}
