//! `greyhound tables repair`

use super::super::failure::Failure;
use super::super::program::{ACTIVITY, Program};
use clap::Args;
use greyhound_activity::compact::swap::Settled;
use greyhound_activity::repair::repair;
use serde_json::Value;
use std::io::{Write, stdout};
use std::time::Duration;

/// Whoever is alive is done with it by then.
const AGE: Duration = Duration::from_secs(3600);

const HELP: &str = "\
A node puts its own things in order when it starts: this is for nodes that will not. It puts back directories that a compaction
had taken out of a table when its node died, and removes what was left behind in _staging more than an hour ago. No row is ever
removed. Nodes may go on meanwhile; it can be run again and again.

With --from-journal it asks the running node instead (admin.listen): rows that were committed, that no file of a table has any more,
and that the node's journal still has (log.retention), are written again, and their hours are marked as complete anew. Each node
has its own journal: run it on each. New rows wait in the journal meanwhile.

Exit status:
  0  everything is in order
  1  an hour is not complete, and there is no other copy of it; something is in the way, which is named, and the rest is done;
     or the tables cannot be reached";

/// Finish what nodes that are no more left in the midst.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(in crate::cli) struct Repair {
    /// Have the running node write rows again that its tables have lost and its journal still has
    #[arg(long)]
    from_journal: bool,
}

impl Repair {
    pub(super) async fn run(self, program: &Program) -> Result<(), Failure> {
        if self.from_journal {
            return from_journal(program).await;
        }
        let config: greyhound_activity::Config = program.plugin(ACTIVITY)?;
        let (store, shown) = greyhound_activity::open(&config).await.map_err(|e| Failure::failed(e.to_string()))?;
        let (mut done, mut lost, mut obstacles, mut lines) = (0, 0, 0, stdout());
        let mut written = Ok(());
        let tell = |settled| {
            match settled {
                Settled::Incomplete(_) => lost += 1,
                Settled::Obstructed(_) => obstacles += 1,
                _ => done += 1,
            }
            if written.is_ok() {
                written = writeln!(lines, "{settled}");
            }
        };
        repair(store, AGE, tell).await.map_err(|e| Failure::failed(e.to_string()))?;
        written?;
        writeln!(stdout(), "{shown}: put in order: {done}")?;
        match (lost, obstacles) {
            (0, 0) => Ok(()),
            _ => Err(Failure::failed(format!(
                "hours that nothing here can complete: {lost}; things in the way: {obstacles}"
            ))),
        }
    }
}

/// Asks the running node.
async fn from_journal(program: &Program) -> Result<(), Failure> {
    let client = program.admin()?;
    let answer = client.post("/v1/activity/repair", Vec::new()).await?;
    let (mut out, mut rows) = (stdout(), 0);
    for table in answer["tables"].as_array().into_iter().flatten() {
        rows += table["rows"].as_u64().unwrap_or(0);
        for path in table["files"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            writeln!(out, "written again: {path}")?;
        }
    }
    Ok(writeln!(out, "rows written again from the journal: {rows}")?)
}
