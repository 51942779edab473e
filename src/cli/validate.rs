//! `greyhound validate`

use super::failure::Failure;
use super::program;
use std::io::{Write, stdout};
use std::path::PathBuf;

pub(super) fn run(file: Option<PathBuf>) -> Result<(), Failure> {
    let program = program::load(file)?;
    Ok(writeln!(stdout(), "{}: valid", program.config.source_name())?)
}
