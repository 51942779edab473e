//! `greyhound tables`. Each subcommand has a file.

mod ddl;
mod dictionary;
mod repair;
mod verify;

use super::failure::Failure;
use super::program::Program;
use clap::Subcommand;

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(super) enum Tables {
    /// Print SQL that declares the tables, and views that join them, for an engine
    Ddl(ddl::Ddl),
    /// Write a page for each table: its columns, their types, meaning and units
    Dictionary(dictionary::Dictionary),
    /// Prove that no row is missing and none is duplicated
    Verify(verify::Verify),
    /// Finish compactions that decommissioned nodes left half-done, or restore lost rows from the journal
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
