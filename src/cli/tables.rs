//! `greyhound tables`

mod repair;
mod verify;

use super::failure::Failure;
use super::program::{self, ACTIVITY};
use clap::Subcommand;
use greyhound::bus::gap_schema;
use std::io::{Write, stdout};
use std::path::PathBuf;

const HELP: &str = "\
The views are over the directory in plugins.activity.store, as it is written there: run them where it leads from.

Example:
  greyhound tables views > views.sql && duckdb activity.db -init views.sql";

/// What about the tables.
#[derive(Debug, Subcommand)]
pub(super) enum Tables {
    /// Print SQL for DuckDB: a view for each table, and one that joins deliveries with what they name
    #[command(after_help = HELP)]
    Views,
    /// Prove that no row is missing and none is there twice
    Verify(verify::Verify),
    /// Finish what nodes that are no more left in the midst
    Repair(repair::Repair),
}

impl Tables {
    pub(super) async fn run(self, file: Option<PathBuf>) -> Result<(), Failure> {
        match self {
            Self::Views => views(file),
            Self::Verify(verify) => verify.run(file).await,
            Self::Repair(repair) => repair.run(file).await,
        }
    }
}

fn views(file: Option<PathBuf>) -> Result<(), Failure> {
    let activity: greyhound_activity::Config = program::load(file)?.config.plugin(ACTIVITY)?;
    let sql = greyhound_messaging::views::duckdb(&activity.store, &[gap_schema()]).map_err(|e| Failure::failed(e.to_string()))?;
    Ok(stdout().write_all(sql.as_bytes())?)
}
