//! `greyhound tables repair`

use super::super::failure::Failure;
use super::super::program::{ACTIVITY, Program};
use clap::Args;
use greyhound_activity::repair::Settled;
use greyhound_activity::repair::repair;
use serde_json::Value;
use std::io::{Write, stdout};
use std::time::Duration;

/// A live node finishes its work in _staging within this time.
const AGE: Duration = Duration::from_secs(3600);

const HELP: &str = "\
A node repairs its own tables when it starts. This command repairs those of nodes that will not start again: it moves directories
back into a table that a compaction had moved out when its node died, and deletes files that have been in _staging for more than an
hour. It never deletes a row. Nodes may run meanwhile, and the command may be repeated.

With --from-journal, the running node (admin.listen) writes committed rows again that no file of a table has any more and that its
journal still has (log.retention), and marks their hours as complete. Each node has its own journal: run the command on each node.
New rows wait in the journal meanwhile.

Exit status:
  0  everything is repaired
  1  an hour is incomplete and has no other copy; or a path, which is named, is in the way, and everything else is repaired; or the
     tables cannot be reached";

/// What to repair.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(in crate::cli) struct Repair {
    /// Let the running node restore rows that its tables have lost and its journal still has
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
        let report = |settled| {
            match settled {
                Settled::Incomplete(_) => lost += 1,
                Settled::Obstructed(_) => obstacles += 1,
                _ => done += 1,
            }
            if written.is_ok() {
                written = writeln!(lines, "{settled}");
            }
        };
        repair(store, AGE, report).await.map_err(|e| Failure::failed(e.to_string()))?;
        written?;
        writeln!(stdout(), "{shown}: repaired: {done}")?;
        match (lost, obstacles) {
            (0, 0) => Ok(()),
            _ => Err(Failure::failed(format!("hours that cannot be completed: {lost}; paths in the way: {obstacles}"))),
        }
    }
}

/// Lets the running node restore rows from its journal.
async fn from_journal(program: &Program) -> Result<(), Failure> {
    let client = program.admin()?;
    let answer = client.post("/v1/activity/repair", Vec::new()).await?;
    let (mut out, mut rows) = (stdout(), 0);
    for table in answer["tables"].as_array().into_iter().flatten() {
        rows += table["rows"].as_u64().unwrap_or(0);
        for path in table["files"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            writeln!(out, "restored: {path}")?;
        }
    }
    Ok(writeln!(out, "rows restored from the journal: {rows}")?)
}
