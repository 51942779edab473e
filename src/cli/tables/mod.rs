//! `greyhound tables`: one file a subcommand.

mod ddl;
mod dictionary;
mod repair;
mod verify;

use super::failure::Failure;
use super::program::Program;
use crate::bus::gap_schema;
use clap::Subcommand;
use greyhound_sdk::TopicSchema;

/// What about the tables.
#[derive(Debug, Subcommand)]
pub(super) enum Tables {
    /// Print SQL that makes the tables, and views that join them, known to an engine
    Ddl(ddl::Ddl),
    /// Write a page for each table: its columns, their types, meaning and units
    Dictionary(dictionary::Dictionary),
    /// Prove that no row is missing and none is there twice
    Verify(verify::Verify),
    /// Finish what nodes that are no more left in the midst
    Repair(repair::Repair),
}

impl Tables {
    pub(super) async fn run(self, program: &Program) -> Result<(), Failure> {
        match self {
            Self::Ddl(ddl) => ddl.run(program),
            Self::Dictionary(dictionary) => dictionary.run(program),
            Self::Verify(verify) => verify.run(program).await,
            Self::Repair(repair) => repair.run(program).await,
        }
    }
}

/// The schemas of all tables.
fn schemas(program: &Program) -> Result<Vec<TopicSchema>, Failure> {
    let mut schemas = program.topics()?;
    schemas.push(gap_schema());
    Ok(schemas)
}
