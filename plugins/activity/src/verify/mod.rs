//! `greyhound tables verify`: proves that no row is missing and none is there twice, from the store, and from the
//! journals of nodes that answer; and, if asked ([`Depth`]), that no value changed.
//!
//! Of each file the columns `seq` and `time` are read, or all, hour by hour; what is kept is a bit for each row of one
//! file, and a few ranges for each hour. The sink may go on meanwhile: an hour whose directory changed while it was
//! looked at is looked at again.

mod committed;
mod finding;
mod gaps;
mod hour;
mod numbers;
mod stray;

pub use finding::Finding;
pub use numbers::Range;

use crate::compact::swap::hours_in;
use crate::hours::{LONGEST_DOWNTIME_HOURS, SUCCESS, Success, parse};
use crate::read::Blocking;
use crate::retention::oldest_kept;
use crate::roll::Hour;
use crate::store::staging::{STAGING, now};
use crate::store::{Passing, Store, StoreError, Trouble, names_in};
use committed::{Committed, OfShard};
use gaps::Gaps;
use greyhound_sdk::Shard;
use hour::{Look, Subject};
use numbers::Ranges;
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// What is verified.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// These tables; none: all that there are.
    pub topics: Vec<String>,
    /// This day alone.
    pub day: Option<Day>,
    /// Days that have been over for so long may have been removed: a shard need not begin with its first row.
    pub retention: Option<Duration>,
    /// How closely.
    pub depth: Depth,
    /// What the journals of nodes that answered said, before this.
    pub journals: Vec<Journal>,
}

/// How closely tables are verified.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Depth {
    /// Each row is there once.
    #[default]
    Rows,
    /// ... with the values that it had when it was committed.
    Values,
}

/// A node's journal of one topic.
#[derive(Debug, Clone)]
pub struct Journal {
    /// Its shard.
    pub shard: String,
    /// The topic.
    pub topic: String,
    /// The oldest row that it has.
    pub earliest: u64,
    /// The number after the last row that the node's sink has committed.
    pub committed: u64,
}

/// A day (UTC), as people write it: `YYYY-MM-DD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day(Hour);

/// A text that is no [`Day`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a day of the calendar, such as 2026-05-10")]
pub struct NotADay;

/// What was found of a shard in a table.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The table.
    pub topic: String,
    /// The shard; `-` stands for what has no place in the table.
    pub shard: String,
    /// Its hours that are closed.
    pub closed: u64,
    /// Its files.
    pub files: u64,
    /// Files whose values were to be checked and cannot be: a version wrote them that kept no digests.
    pub unchecked: u64,
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
    let begins = scope.day.is_none() && scope.retention.is_none();
    let mut verifier = Verifier { store, begins, scope, committed: Committed::default(), progress, report };
    let done = tokio::task::spawn_blocking(move || verifier.tables()).await;
    done.unwrap_or_else(|e| Err(Trouble::passing(Passing::Other, e).at("verify", "the tables")))
}

impl FromStr for Day {
    type Err = NotADay;

    fn from_str(text: &str) -> Result<Self, NotADay> {
        parse(&format!("dt={text}"), "hour=00").map(Self).ok_or(NotADay)
    }
}

struct Verifier<P, R> {
    store: Blocking,
    scope: Scope,
    /// Whether all tables begin with row 0.
    begins: bool,
    committed: Committed,
    progress: P,
    report: R,
}

impl<P: Fn(&str), R: FnMut(Report)> Verifier<P, R> {
    fn tables(&mut self) -> Result<(), StoreError> {
        let scope = &self.scope;
        let topics = &scope.topics;
        let now = Hour(i64::try_from(now() / 3600).unwrap_or(0));
        let kept = scope.retention.and_then(|age| oldest_kept(now, age));
        let wanted = |hour: Hour| {
            scope.day.is_none_or(|only| only.0.day() == hour.day()) && kept.is_none_or(|kept| hour >= kept)
        };
        // First: what is committed meanwhile is more than what is expected.
        let journals = if scope.day.is_none() { scope.journals.as_slice() } else { &[] };
        self.committed = Committed::read(&self.store, journals, wanted)?;
        let mut all: BTreeSet<String> = self.list("")?.into_iter().collect();
        all.extend(self.committed.topics());
        all.retain(|name| !name.starts_with(['_', '.']) && (topics.is_empty() || topics.contains(name)));
        for topic in &all {
            let mut strays = Vec::new();
            let shards = self.shards(topic, &mut strays)?;
            // Beside the tables there may be others' directories.
            if !strays.is_empty() && (!shards.is_empty() || topics.contains(topic)) {
                (self.report)(Report {
                    topic: topic.clone(),
                    shard: "-".to_owned(),
                    findings: strays,
                    ..Report::default()
                });
            }
            for (shard, hours) in shards {
                let report = self.shard(topic, &shard, &hours)?;
                (self.report)(report);
            }
        }
        Ok(())
    }

    /// The shards that have directories in a table, or in staging, and their hours; what has no place in the table is
    /// added to the strays.
    fn shards(&self, topic: &str, strays: &mut Vec<Finding>) -> Result<BTreeMap<Shard, BTreeSet<Hour>>, StoreError> {
        let mut shards: BTreeMap<Shard, BTreeSet<Hour>> = BTreeMap::new();
        let is_wanted = |hour: Hour| self.scope.day.is_none_or(|only| only.0.day() == hour.day());
        let days = self.places(topic, self.list(topic)?, strays, |day| parse(day, "hour=00"))?;
        for (day, _) in days.into_iter().filter(|(_, begin)| is_wanted(*begin)) {
            (self.progress)(&day);
            let name = &day[topic.len() + 1..];
            for (directory, hour) in self.places_in(&day, strays, |hour| parse(name, hour))? {
                for (_, shard) in
                    self.places_in(&directory, strays, |shard| shard.strip_prefix("shard=")?.parse::<Shard>().ok())?
                {
                    shards.entry(shard).or_default().insert(hour);
                }
            }
        }
        for shard in self.committed.shards(topic) {
            shards.entry(shard).or_default();
        }
        // An hour that is just being swapped has no directory in the table.
        for shard in self.list(STAGING)?.into_iter().filter_map(|name| name.parse::<Shard>().ok()) {
            let names = self.list(&format!("{STAGING}/{shard}/{topic}"))?;
            let hours = hours_in(&names).map(|(hour, _)| hour).filter(|hour| is_wanted(*hour));
            for hour in hours {
                shards.entry(shard.clone()).or_default().insert(hour);
            }
        }
        Ok(shards)
    }

    /// Hours that were open when they were looked at, and are closed by now.
    fn forget_closed(&self, findings: &mut Vec<Finding>) -> Result<(), StoreError> {
        for finding in std::mem::take(findings) {
            let is_closed = match &finding {
                Finding::Open { directory } => {
                    self.store.ask(async |store| store.exists(&format!("{directory}/{SUCCESS}")).await)?
                }
                _ => false,
            };
            if !is_closed {
                findings.push(finding);
            }
        }
        Ok(())
    }

    fn places_in<T>(
        &self,
        directory: &str,
        strays: &mut Vec<Finding>,
        place: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<(String, T)>, StoreError> {
        match self.store.ask(async |store| store.list(directory).await) {
            Err(e) if e.is_obstacle() => {
                strays.push(Finding::Stray { path: directory.to_owned() });
                Ok(Vec::new())
            }
            names => self.places(directory, names?, strays, place),
        }
    }

    /// The paths of what in `directory` is a `place` of the layout; what else there is to read is added to the strays.
    fn places<T>(
        &self,
        directory: &str,
        names: Vec<String>,
        strays: &mut Vec<Finding>,
        place: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<(String, T)>, StoreError> {
        let mut places = Vec::new();
        for name in names {
            match place(&name) {
                Some(it) => places.push((format!("{directory}/{name}"), it)),
                None => strays.extend(stray::among(&self.store, directory, [&name])?),
            }
        }
        Ok(places)
    }

    fn shard(&self, topic: &str, shard: &Shard, hours: &BTreeSet<Hour>) -> Result<Report, StoreError> {
        let mut report = Report { topic: topic.to_owned(), shard: shard.to_string(), ..Report::default() };
        let (mut all, mut before): (Sofar, Option<(Hour, Success)>) = (Sofar::default(), None);
        let (mut open, depth, earliest) = (Vec::new(), self.scope.depth, self.earliest(topic, shard));
        for hour in hours {
            let subject = Subject { topic, shard, hour: *hour, depth, earliest };
            let look = match Look::at(&self.store, &subject, &self.progress) {
                Err(e) if e.is_obstacle() || e.unreadable.is_some() => {
                    report.findings.push(Finding::Damaged { why: e.to_string() });
                    continue;
                }
                look => look?,
            };
            report.files += look.files;
            report.unchecked += look.unchecked;
            report.rows += look.rows;
            all.add(*hour, &look, &mut report.findings);
            match look.success {
                // What is wrong with it is told.
                None if look.is_marked => {}
                // Retention has removed it meanwhile.
                None if look.files == 0 && before.is_none() => {}
                None => open.push(look.directory),
                Some(success) => {
                    report.findings.extend(open.drain(..).map(|directory| Finding::Open { directory }));
                    report.findings.extend(unclosed(topic, shard, before.as_ref().map(|it| it.0), *hour, hours));
                    let next = before.filter(|(at, _)| at.0 + 1 == hour.0).map(|(_, success)| success.next);
                    report.findings.extend(agrees(&success, next, &look.numbers, &look.directory));
                    report.closed += 1;
                    before = Some((*hour, success));
                }
            }
            report.findings.extend(look.findings);
        }
        self.forget_closed(&mut report.findings)?;
        report.range = all.rows.first().zip(all.rows.last());
        let expected = self.committed.of(topic, shard);
        let holes = self.holes(&all.rows, expected);
        if !holes.is_empty() {
            // Read after the rows: what was shed meanwhile is told there.
            let all_gaps = Gaps::read(&self.store)?;
            let gaps = all_gaps.of(topic, shard.as_str());
            for hole in holes {
                let is_open = all.hour_of(hole.1 + 1).is_some_and(|hour| !all_gaps.is_closed(shard.as_str(), hour));
                report.recorded +=
                    gaps.common(&Ranges::of(vec![hole])).iter().map(|(first, last)| last - first + 1).sum::<u64>();
                let after = hole.0.checked_sub(1).map(|row| all.place_of(row)).filter(|place| !place.is_empty());
                let committed = |rows| expected.and_then(|it| it.file_with(rows)).map(str::to_owned);
                // A journal may have a gap at its end.
                let is_open = is_open || report.range.is_none_or(|(_, last)| hole.0 > last);
                let unrecorded = gaps.holes(hole.0, hole.1 + 1).into_iter();
                report.findings.extend(unrecorded.map(|rows| Finding::Missing {
                    rows,
                    after: after.clone(),
                    is_open,
                    committed: committed(rows),
                }));
            }
        }
        Ok(report)
    }

    /// The oldest row that a shard's journal has, if its node answered.
    fn earliest(&self, topic: &str, shard: &Shard) -> Option<u64> {
        let of_shard = |journal: &&Journal| (journal.topic.as_str(), journal.shard.as_str()) == (topic, shard.as_str());
        self.scope.journals.iter().find(of_shard).map(|journal| journal.earliest)
    }

    /// What is not in `rows`: between them, and of what was committed.
    fn holes(&self, rows: &Ranges, expected: Option<&OfShard>) -> Vec<Range> {
        let begin = if self.begins { Some(0) } else { rows.first() };
        let end = rows.last().map(|last| last + 1).max(expected.and_then(|it| it.journal));
        let mut holes = begin.zip(end).map(|(begin, end)| rows.holes(begin, end)).unwrap_or_default();
        let files = expected.map(OfShard::rows).unwrap_or_default();
        holes.extend(files.as_slice().iter().flat_map(|(first, last)| rows.holes(*first, last + 1)));
        Ranges::of(holes).as_slice().to_vec()
    }

    fn list(&self, path: &str) -> Result<Vec<String>, StoreError> {
        self.store.ask(async |store| names_in(store, path).await)
    }
}

/// The rows of a shard so far.
#[derive(Default)]
struct Sofar {
    rows: Ranges,
    /// First and last row of each hour, and its directory.
    hours: Vec<(Range, Hour, String)>,
}

impl Sofar {
    fn add(&mut self, hour: Hour, look: &Look, findings: &mut Vec<Finding>) {
        for rows in look.numbers.common(&self.rows) {
            findings.push(Finding::Double { rows, file: look.directory.clone(), other: self.place_of(rows.0) });
        }
        self.rows.add(&look.numbers);
        if let Some(range) = look.numbers.first().zip(look.numbers.last()) {
            self.hours.push((range, hour, look.directory.clone()));
        }
    }

    /// The directory of the hour that has a row.
    fn place_of(&self, row: u64) -> String {
        self.with(row).map(|(_, _, place)| place.clone()).unwrap_or_default()
    }

    fn hour_of(&self, row: u64) -> Option<Hour> {
        self.with(row).map(|(_, hour, _)| *hour)
    }

    fn with(&self, row: u64) -> Option<&(Range, Hour, String)> {
        self.hours.iter().find(|((first, last), ..)| (*first..=*last).contains(&row))
    }
}

/// The hours between two closed ones that have no directory, as if they had one.
fn unclosed(
    topic: &str,
    shard: &Shard,
    before: Option<Hour>,
    hour: Hour,
    known: &BTreeSet<Hour>,
) -> impl Iterator<Item = Finding> {
    let from =
        before.filter(|before| hour.0 - before.0 <= LONGEST_DOWNTIME_HOURS).map_or(hour.0, |before| before.0 + 1);
    let missing = |at: i64| Finding::Open { directory: crate::commit::directory(topic, Hour(at), shard) };
    (from..hour.0).filter(|at| !known.contains(&Hour(*at))).map(missing).collect::<Vec<_>>().into_iter()
}

/// Ranges of rows, for people.
fn rows_shown(ranges: impl IntoIterator<Item = Range>) -> String {
    let shown: Vec<_> = ranges.into_iter().map(|(first, last)| format!("{first} to {last}")).collect();
    if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
}

/// Where a `_SUCCESS` does not agree with the rows; `next` is what the hour before says.
fn agrees(success: &Success, next: Option<u64>, numbers: &Ranges, directory: &str) -> Option<Finding> {
    let untrue = |why: String| Some(Finding::Untrue { directory: directory.to_owned(), why });
    if (success.first, success.last) != (numbers.first(), numbers.last()) {
        return untrue(format!(
            "it tells of rows {}; there are {}",
            rows_shown(success.first.zip(success.last)),
            rows_shown(numbers.first().zip(numbers.last()))
        ));
    }
    let next = next?;
    let gaps = numbers.holes(next, numbers.last().map_or(next, |last| last + 1));
    if success.gaps != gaps {
        return untrue(format!(
            "it tells of gaps {}; there are {}",
            rows_shown(success.gaps.clone()),
            rows_shown(gaps)
        ));
    }
    let end = numbers.last().map_or(next, |last| last + 1);
    if success.next != end {
        untrue(format!("it tells that row {} is the next; it is {end}", success.next))
    } else {
        None
    }
}
