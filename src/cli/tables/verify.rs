//! `greyhound tables verify`

use super::super::failure::Failure;
use super::super::program::{ACTIVITY, Program};
use super::super::text;
use super::schemas;
use crate::config::nearest;
use crate::host::is_coloured;
use clap::Args;
use greyhound_activity::verify::{Day, Journal, Report, Scope, verify};
use greyhound_sdk::TopicSchema;
use serde_json::Value;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// How long a node may take to tell of its journal.
const JOURNAL_TIMEOUT: Duration = Duration::from_secs(5);

const HELP: &str = "\
Reads the tables, wherever plugins.activity.store says they are: the numbers of the rows in each file must be those that its footer,
_SUCCESS and the other files tell of, and their times must be of the directory's hour. Missing numbers must be recorded in
greyhound.gap. Below a table's directory there must be no other file that a reader would take for data.

What was committed must still be there: by greyhound.sink, and by the journal of this node if it runs (admin.listen). Without its
journal, nothing tells of a loss at the end of greyhound.sink itself: run it on each node.

This proves that each row is there once, as Spark, Trino and DuckDB list the tables. It proves nothing of the values: other columns
than seq and time are not read. Rows that are not yet in the tables are none of its business, and the program may go on meanwhile;
where rows are just being shed, what tells of it in greyhound.gap may come later, which is said.

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
        let verified = verify(
            store,
            Scope { topics: self.topics, day: self.day, retention: config.retention, journals },
            progress,
            report,
        )
        .await;
        if is_watched {
            eprint!("\r\x1b[2K");
        }
        verified.map_err(|e| Failure::failed(e.to_string()))?;
        let reports = std::mem::take(&mut *reports.lock().unwrap_or_else(PoisonError::into_inner));
        show(&reports)?;
        if let Some(topic) = topics.iter().find(|topic| !reports.iter().any(|report| report.topic == **topic)) {
            let known = schemas(program)?;
            let near = nearest(topic, known.iter().map(TopicSchema::name)).filter(|near| near != topic);
            let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            return Err(Failure::failed(format!(
                "there is no table `{topic}` in {shown}, or nothing of that day{near}"
            )));
        }
        if reports.is_empty() {
            return Err(Failure::failed(format!(
                "there are no tables in {shown}, or nothing of that day: see plugins.activity.store"
            )));
        }
        match reports.iter().map(|report| report.findings.len()).sum() {
            0 => Ok(()),
            1 => Err(Failure::failed("1 thing is wrong with the tables")),
            wrong => Err(Failure::failed(format!("{wrong} things are wrong with the tables"))),
        }
    }
}

/// What the journal of this node says, if it answers.
async fn journals(program: &Program) -> Vec<Journal> {
    let asked = async {
        let answer = program.admin()?.get("/v1/topics").await?;
        Ok::<_, Failure>(journals_in(&answer).unwrap_or_default())
    };
    match timeout(JOURNAL_TIMEOUT, asked).await {
        Ok(Ok(journals)) => journals,
        _ => {
            eprintln!(
                "the node at admin.listen does not answer: what was committed last is proved by greyhound.sink alone"
            );
            Vec::new()
        }
    }
}

fn journals_in(answer: &Value) -> Option<Vec<Journal>> {
    let shard = answer["shard"].as_str()?;
    let of_topic = |topic: &Value| {
        let sink = topic["consumers"].as_array()?.iter().find(|consumer| consumer["name"] == ACTIVITY)?;
        let (topic, committed) = (topic["name"].as_str()?.to_owned(), sink["position"].as_u64()?);
        Some(Journal { shard: shard.to_owned(), topic, committed })
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
    let [closed, files, rows, recorded] =
        [report.closed, report.files, report.rows, report.recorded].map(|n| n.to_string());
    vec![report.topic.clone(), report.shard.clone(), closed, files, rows, first, last, recorded, verdict]
}
