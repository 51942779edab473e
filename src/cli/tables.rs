//! `greyhound tables`

use super::failure::Failure;
use super::program::{self, ACTIVITY};
use clap::Subcommand;
use greyhound::bus::gap_schema;
use greyhound_activity::Activity;
use greyhound_sdk::Plugin;
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
        let sql = Activity.topics().and_then(|mut others| {
            others.push(gap_schema());
            greyhound_messaging::views::duckdb(&activity.store, &others)
        });
        Ok(stdout().write_all(sql.map_err(|e| Failure::failed(e.to_string()))?.as_bytes())?)
    }
}
