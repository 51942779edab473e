//! `greyhound tables verify`: proves from the store, and from the journals of nodes that answer, that no row is missing
//! or there twice; and, if asked ([`Depth`]), that no value changed.
//!
//! It reads the columns `seq` and `time` of each file, or all columns, hour by hour, and keeps one bit for each row of
//! a file and a few ranges for each hour. The sink may continue meanwhile: if an hour's directory changes during the
//! check, the hour is checked again.

mod committed;
mod finding;
mod gaps;
mod hour;
mod numbers;
mod scope;
mod stray;

pub use finding::Finding;
pub use numbers::Range;
pub use scope::{Day, Depth, Journal, NotADay, Scope};

use crate::compact::swap::hours_in;
use crate::hours::DOWNTIME_HOURS_MAX;
use crate::layout::{Hour, parse};
use crate::read::Blocking;
use crate::retention::oldest_kept;
use crate::store::staging::{STAGING, now};
use crate::store::{Failure, Store, StoreError, Transient, names_in};
use crate::success::{SUCCESS, Success};
use committed::{Committed, OfShard};
use gaps::Gaps;
use greyhound_sdk::Shard;
use hour::{Look, Subject};
use numbers::{Ranges, rows_shown};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The result for a shard in a table.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The table.
    pub topic: String,
    /// The shard; `-` stands for files that do not belong in the table.
    pub shard: String,
    /// The number of its closed hours.
    pub closed: u64,
    /// The number of its files.
    pub files: u64,
    /// Files whose values were to be checked and cannot be: a version wrote them that kept no digests.
    pub unchecked: u64,
    /// The number of its rows.
    pub rows: u64,
    /// The first and the last row; `None` if there are no rows.
    pub range: Option<Range>,
    /// How many numbers are missing and recorded as missing.
    pub recorded: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// Verifies tables; calls `progress` with each directory, and `report` with the result for each shard.
///
/// # Errors
/// If the store cannot be read.
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
    done.unwrap_or_else(|e| Err(Failure::transient(Transient::Other, e).at("verify", "the tables")))
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
        // First, because rows that are committed later are not expected.
        let journals = if scope.day.is_none() { scope.journals.as_slice() } else { &[] };
        self.committed = Committed::read(&self.store, journals, wanted)?;
        let mut all: BTreeSet<String> = self.list("")?.into_iter().collect();
        all.extend(self.committed.topics());
        all.retain(|name| !name.starts_with(['_', '.']) && (topics.is_empty() || topics.contains(name)));
        for topic in &all {
            let mut strays = Vec::new();
            let shards = self.shards(topic, &mut strays)?;
            // There may be foreign directories beside the tables.
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

    /// The shards that have directories in a table or in staging, with their hours; files that do not belong in the
    /// table are added to the strays.
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
        // During a swap, an hour has no directory in the table.
        for shard in self.list(STAGING)?.into_iter().filter_map(|name| name.parse::<Shard>().ok()) {
            let names = self.list(&format!("{STAGING}/{shard}/{topic}"))?;
            let hours = hours_in(&names).map(|(hour, _)| hour).filter(|hour| is_wanted(*hour));
            for hour in hours {
                shards.entry(shard.clone()).or_default().insert(hour);
            }
        }
        Ok(shards)
    }

    /// Drops findings of hours that were open when they were checked and are closed by now.
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

    /// The paths in `directory` that are a `place` of the layout; other readable files are added to the strays.
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
                // The look has the finding.
                None if look.is_marked => {}
                // Retention removed it in the meantime.
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
            // Read after the rows, so that it includes rows that were shed in the meantime.
            let all_gaps = Gaps::read(&self.store)?;
            let gaps = all_gaps.of(topic, shard.as_str());
            for hole in holes {
                let is_open = all.hour_of(hole.1 + 1).is_some_and(|hour| !all_gaps.is_closed(shard.as_str(), hour));
                report.recorded +=
                    gaps.common(&Ranges::of(vec![hole])).iter().map(|(first, last)| last - first + 1).sum::<u64>();
                let after = hole.0.checked_sub(1).map(|row| all.place_of(row)).filter(|place| !place.is_empty());
                let committed = |rows| expected.and_then(|it| it.file_with(rows)).map(str::to_owned);
                // A journal may end with a gap.
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

    /// The oldest row in a shard's journal, if its node answered.
    fn earliest(&self, topic: &str, shard: &Shard) -> Option<u64> {
        let of_shard = |journal: &&Journal| (journal.topic.as_str(), journal.shard.as_str()) == (topic, shard.as_str());
        self.scope.journals.iter().find(of_shard).map(|journal| journal.earliest)
    }

    /// The rows that are missing in `rows`: between them, and of those that were committed.
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

/// Findings for the hours between two closed ones that have no directory.
fn unclosed(
    topic: &str,
    shard: &Shard,
    before: Option<Hour>,
    hour: Hour,
    known: &BTreeSet<Hour>,
) -> impl Iterator<Item = Finding> {
    let from = before.filter(|before| hour.0 - before.0 <= DOWNTIME_HOURS_MAX).map_or(hour.0, |before| before.0 + 1);
    let missing = |at: i64| Finding::Open { directory: crate::layout::directory(topic, Hour(at), shard) };
    (from..hour.0).filter(|at| !known.contains(&Hour(*at))).map(missing).collect::<Vec<_>>().into_iter()
}

/// Whether a `_SUCCESS` contradicts the rows; `next` is from the hour before.
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
