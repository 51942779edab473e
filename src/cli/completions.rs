//! `greyhound completions`

use super::failure::Failure;
use clap::Args;
use clap_complete::{Shell, generate};
use std::io::{Write, stdout};

const HELP: &str = "\
Examples:
  source <(greyhound completions bash)
  greyhound completions fish | source";

/// The shell to complete for.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Completions {
    /// The shell to complete for
    shell: Shell,
}

impl Completions {
    /// Prints the completions of `command`, for a program that is called `name`.
    pub(super) fn run(self, mut command: clap::Command, name: &str) -> Result<(), Failure> {
        let mut script = Vec::new();
        generate(self.shell, &mut command, name, &mut script);
        Ok(stdout().write_all(&script)?)
    }
}
