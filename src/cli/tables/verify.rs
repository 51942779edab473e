//! `greyhound tables verify`

use super::super::failure::Failure;
use super::super::program::{ACTIVITY, Program};
use super::super::text;
use crate::config::nearest;
use crate::host::is_coloured;
use clap::Args;
use greyhound_activity::verify::{Day, Depth, Journal, Report, Scope, verify};
use greyhound_sdk::TopicSchema;
use serde_json::Value;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// How long to wait for the positions in the journal of the running node.
const JOURNAL_TIMEOUT: Duration = Duration::from_secs(5);

const HELP: &str = "\
Reads the tables in plugins.activity.store. The row numbers in each file must agree with its footer, with _SUCCESS and with the
other files, and the times must be in the hour of the directory. greyhound.gap must record every missing number. The directory of a
table must have no other file that a reader would take for data.

All committed rows must still be there, according to greyhound.sink and to the journal of this node if it runs (admin.listen). Only
the journal reveals a loss at the end of greyhound.sink itself: run the command on each node.

This proves that each row is there exactly once, as Spark, Trino and DuckDB list the tables. With --values it also reads all other
columns and compares them with the digests in the footers, which proves that no value or time changed after it was committed. The
verdict counts the files of versions that kept no digests; they are no error. A digest shows damage; it is not a signature.

It ignores rows that are not in the tables yet, so the program may run meanwhile. If the program sheds rows at that moment,
greyhound.gap may record them later; the output then says so.

Exit status:
  0  no row is missing, none is duplicated, and with --values no digest differs
  1  something is wrong or cannot be proved yet, or the tables cannot be read

Examples:
  greyhound tables verify
  greyhound tables verify messaging.delivery --day 2026-05-10
  greyhound tables verify --values";

/// What to verify.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(in crate::cli) struct Verify {
    /// Verify only these tables
    #[arg(value_name = "TOPIC")]
    topics: Vec<String>,
    /// Verify only this day (UTC)
    #[arg(long, value_name = "YYYY-MM-DD")]
    day: Option<Day>,
    /// Also compare all values with the digests in the files' footers (reads the tables whole)
    #[arg(long)]
    values: bool,
}

impl Verify {
    pub(super) async fn run(self, program: &Program) -> Result<(), Failure> {
        let config: greyhound_activity::Config = program.plugin(ACTIVITY)?;
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
        let journals = journals(program).await;
        let depth = if self.values { Depth::Values } else { Depth::Rows };
        let scope = Scope { topics: self.topics, day: self.day, retention: config.retention, depth, journals };
        let verified = verify(store, scope, progress, report).await;
        if is_watched {
            eprint!("\r\x1b[2K");
        }
        verified.map_err(|e| Failure::failed(e.to_string()))?;
        let reports = std::mem::take(&mut *reports.lock().unwrap_or_else(PoisonError::into_inner));
        show(&reports)?;
        if let Some(topic) = topics.iter().find(|topic| !reports.iter().any(|report| report.topic == **topic)) {
            let known = program.tables()?;
            let near = nearest(topic, known.iter().map(TopicSchema::name)).filter(|near| near != topic);
            let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            return Err(Failure::failed(format!(
                "there is no table `{topic}` in {shown}, or it has no rows of that day{near}"
            )));
        }
        if reports.is_empty() {
            return Err(Failure::failed(format!(
                "there are no tables in {shown}, or none has rows of that day: check plugins.activity.store"
            )));
        }
        match reports.iter().map(|report| report.findings.len()).sum() {
            0 => Ok(()),
            1 => Err(Failure::failed("the tables have 1 problem")),
            wrong => Err(Failure::failed(format!("the tables have {wrong} problems"))),
        }
    }
}

/// The positions in the journal of this node, if it answers.
async fn journals(program: &Program) -> Vec<Journal> {
    let asked = async {
        let answer = program.admin()?.get("/v1/topics").await?;
        Ok::<_, Failure>(journals_in(&answer).unwrap_or_default())
    };
    match timeout(JOURNAL_TIMEOUT, asked).await {
        Ok(Ok(journals)) => journals,
        _ => {
            eprintln!("the node at admin.listen does not answer: only greyhound.sink proves the last commits");
            Vec::new()
        }
    }
}

fn journals_in(answer: &Value) -> Option<Vec<Journal>> {
    let shard = answer["shard"].as_str()?;
    let of_topic = |topic: &Value| {
        let sink = topic["consumers"].as_array()?.iter().find(|consumer| consumer["name"] == ACTIVITY)?;
        let (earliest, committed) = (topic["earliest"].as_u64()?, sink["position"].as_u64()?);
        Some(Journal { shard: shard.to_owned(), topic: topic["name"].as_str()?.to_owned(), earliest, committed })
    };
    Some(answer["topics"].as_array()?.iter().filter_map(of_topic).collect())
}

fn show(reports: &[Report]) -> std::io::Result<()> {
    let rows: Vec<Vec<String>> = reports.iter().map(row).collect();
    let table = text::table(
        &["TABLE", "SHARD", "CLOSED HOURS", "FILES", "ROWS", "FROM", "TO", "RECORDED GAPS", "VERDICT"],
        &rows,
    );
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
    let (first, last) =
        report.range.map_or(("-".into(), "-".into()), |(first, last)| (first.to_string(), last.to_string()));
    let verdict =
        if report.findings.is_empty() { "complete".to_owned() } else { format!("{} wrong", report.findings.len()) };
    let unchecked = match report.unchecked {
        0 => String::new(),
        files => format!("; values not checkable in {files} files"),
    };
    let [closed, files, rows, recorded] =
        [report.closed, report.files, report.rows, report.recorded].map(|n| n.to_string());
    vec![report.topic.clone(), report.shard.clone(), closed, files, rows, first, last, recorded, verdict + &unchecked]
}
