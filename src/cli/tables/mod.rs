//! `greyhound tables`: one file a subcommand.

mod ddl;
mod dictionary;

use super::failure::Failure;
use super::program::Program;
use clap::Subcommand;
use greyhound::bus::gap_schema;
use greyhound_sdk::TopicSchema;
use std::path::PathBuf;

/// What about the tables.
#[derive(Debug, Subcommand)]
pub(super) enum Tables {
    /// Print SQL that makes the tables, and views that join them, known to an engine
    Ddl(ddl::Ddl),
    /// Write a page for each table: its columns, their types, meaning and units
    Dictionary(dictionary::Dictionary),
}

impl Tables {
    pub(super) fn run(self, file: Option<PathBuf>) -> Result<(), Failure> {
        match self {
            Self::Ddl(ddl) => ddl.run(file),
            Self::Dictionary(dictionary) => dictionary.run(file),
        }
    }
}

/// The schemas of all tables.
fn schemas(program: &Program) -> Result<Vec<TopicSchema>, Failure> {
    let mut schemas = program.host.topics().map_err(|e| Failure::failed(e.to_string()))?;
    schemas.push(gap_schema());
    Ok(schemas)
}
