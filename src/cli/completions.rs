//! `greyhound completions`

use super::Cli;
use super::failure::Failure;
use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};
use std::io::{Write, stdout};

const HELP: &str = "\
Example:
  greyhound completions bash > ~/.local/share/bash-completion/completions/greyhound";

/// For which shell.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut script = Vec::new();
        generate(self.shell, &mut Cli::command(), "greyhound", &mut script);
        Ok(stdout().write_all(&script)?)
    }
}
