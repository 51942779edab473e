//! `greyhound tables`

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
}

impl Tables {
    pub(super) fn run(self, file: Option<PathBuf>) -> Result<(), Failure> {
        let Self::Views = self;
        let activity: greyhound_activity::Config = program::load(file)?.config.plugin(ACTIVITY)?;
        let sql = greyhound_messaging::views::duckdb(&activity.store, &[gap_schema()]).map_err(|e| Failure::failed(e.to_string()))?;
        Ok(stdout().write_all(sql.as_bytes())?)
    }
}
