//! `greyhound tables verify`

use super::super::failure::Failure;
use super::super::{program, text};
use super::schemas;
use clap::Args;
use greyhound::config::nearest;
use greyhound::host::is_coloured;
use greyhound_activity::verify::{Day, Report, Scope, verify};
use greyhound_sdk::TopicSchema;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

const HELP: &str = "\
From the tables alone, wherever plugins.activity.store says they are: of each file the rows' numbers are read, and must be those
that its footer, _SUCCESS and the other files tell of. Missing numbers must be recorded in greyhound.gap. Below a table's directory
there must be no other file that a reader would take for data.

This proves that each row is there once, as Spark, Trino and DuckDB list the tables. It proves nothing of the values: other columns
than seq are not read, and the digest in a footer is one of the journal's rows, which the tables alone cannot tell. Rows that are
not yet in the tables are none of its business, and the program may go on meanwhile; where rows are just being shed, what tells of
it in greyhound.gap may come later, which is said.

Exit status:
  0  no row is missing, and none is there twice
  1  something is wrong or cannot be proved yet, or the tables cannot be read

Examples:
  greyhound tables verify
  greyhound tables verify messaging.delivery --day 2026-05-10";

/// Which tables.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(in crate::cli) struct Verify {
    /// Only these tables
    #[arg(value_name = "TOPIC")]
    topics: Vec<String>,
    /// Only this day (UTC)
    #[arg(long, value_name = "YYYY-MM-DD")]
    day: Option<Day>,
}

impl Verify {
    pub(super) async fn run(self, file: Option<PathBuf>) -> Result<(), Failure> {
        let program = program::load(file)?;
        let config: greyhound_activity::Config = program.config.plugin(program::ACTIVITY)?;
        let (store, shown) = greyhound_activity::open(&config).await.map_err(|e| Failure::failed(e.to_string()))?;
        let reports = Arc::new(Mutex::new(Vec::new()));
        let (all, is_watched) = (reports.clone(), stderr().is_terminal());
        let progress = move |path: &str| {
            if is_watched {
                eprint!("\r\x1b[2K{path}");
            }
        };
        let report = move |report| all.lock().unwrap_or_else(PoisonError::into_inner).push(report);
        let topics = self.topics.clone();
        let verified =
            verify(store, Scope { topics: self.topics, day: self.day, retained: config.retention.is_some() }, progress, report).await;
        if is_watched {
            eprint!("\r\x1b[2K");
        }
        verified.map_err(|e| Failure::failed(e.to_string()))?;
        let reports = std::mem::take(&mut *reports.lock().unwrap_or_else(PoisonError::into_inner));
        show(&reports)?;
        if let Some(topic) = topics.iter().find(|topic| !reports.iter().any(|report| report.topic == **topic)) {
            let known = schemas(&program)?;
            let near = nearest(topic, known.iter().map(TopicSchema::name)).filter(|near| near != topic);
            let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            return Err(Failure::failed(format!("there is no table `{topic}` in {shown}, or nothing of that day{near}")));
        }
        if reports.is_empty() {
            return Err(Failure::failed(format!("there are no tables in {shown}, or nothing of that day: see plugins.activity.store")));
        }
        match reports.iter().map(|report| report.findings.len()).sum() {
            0 => Ok(()),
            1 => Err(Failure::failed("1 thing is wrong with the tables")),
            wrong => Err(Failure::failed(format!("{wrong} things are wrong with the tables"))),
        }
    }
}

fn show(reports: &[Report]) -> std::io::Result<()> {
    let rows: Vec<Vec<String>> = reports.iter().map(row).collect();
    let table = text::table(&["TABLE", "SHARD", "CLOSED HOURS", "FILES", "ROWS", "FROM", "TO", "RECORDED GAPS", "VERDICT"], &rows);
    let mut out = stdout().lock();
    let is_coloured = is_coloured(&out);
    for (at, line) in table.lines().enumerate() {
        let is_wrong = at > 0 && !reports[at - 1].findings.is_empty();
        if is_coloured && is_wrong { writeln!(out, "\x1b[31m{line}\x1b[0m")? } else { writeln!(out, "{line}")? }
    }
    for report in reports.iter().filter(|report| !report.findings.is_empty()) {
        writeln!(out, "\n{} {}", report.topic, report.shard)?;
        report.findings.iter().try_for_each(|finding| writeln!(out, "  {finding}"))?;
    }
    out.flush()
}

fn row(report: &Report) -> Vec<String> {
    let (first, last) = report.range.map_or(("-".into(), "-".into()), |(first, last)| (first.to_string(), last.to_string()));
    let verdict = if report.findings.is_empty() { "complete".to_owned() } else { format!("{} wrong", report.findings.len()) };
    let [closed, files, rows, recorded] = [report.closed, report.files, report.rows, report.recorded].map(|n| n.to_string());
    vec![report.topic.clone(), report.shard.clone(), closed, files, rows, first, last, recorded, verdict]
}
