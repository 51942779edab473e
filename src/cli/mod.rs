//! The command line: one file a subcommand.

mod admin;
mod completions;
mod consumers;
mod emit;
mod failure;
mod program;
mod run;
mod tables;
mod tail;
#[cfg(test)]
mod tests;
mod text;
mod token;
mod topics;
mod validate;

use clap::{Parser, Subcommand};
use failure::Failure;
use std::io::{Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

/// An event bus with a socket.io gateway and a Parquet activity log.
///
/// Without a command it runs, with `greyhound.toml` of the working directory, or with its defaults where there is none.
#[derive(Debug, Parser)]
#[command(name = "greyhound", version, after_help = HELP)]
struct Cli {
    /// The configuration [default: greyhound.toml, where there is one]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

const HELP: &str = "\
Examples:
  greyhound                                            start it
  greyhound --config /etc/greyhound.toml validate      look for mistakes in a configuration
  greyhound validate --connect                         ... and whether the tables can be written
  greyhound token --user 1                             a token for user 1
  greyhound emit --room 'user(1)' message '\"hello\"'    a message to every device of user 1
  greyhound tail messaging.delivery                    the rows of a topic, as they become durable

Environment:
  GREYHOUND__SECTION__KEY   overrides a key: GREYHOUND__NODE__DATA_DIR, GREYHOUND__PLUGINS__MESSAGING__AUTH__SECRET
  PORT                      the port that clients connect to
  RUST_LOG                  what is logged: warn, info, greyhound=debug
  NO_COLOR                  no colours

Exit status:
  0  success
  1  failure
  2  wrong usage or configuration
  3  done in part: a message reached the clients of this node only";

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the program: the default
    Run,
    /// Look for mistakes in the configuration, without starting anything
    Validate(validate::Validate),
    /// Mint a token with which a client authenticates
    Token(token::Token),
    /// Publish a message through the running program
    Emit(emit::Emit),
    /// Show topics, their rows and who consumes them
    Topics(topics::Topics),
    /// Show, reset and delete consumers
    Consumers(consumers::Consumers),
    /// Show the rows of a topic as they become durable
    Tail(tail::Tail),
    /// Help with the tables that the program writes
    #[command(subcommand)]
    Tables(tables::Tables),
    /// Print completions for a shell
    Completions(completions::Completions),
    /// Print the version
    Version,
}

/// Does what the arguments say.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut builder = match cli.command {
        // The host has threads of its own for plugins; here are signals and the admin listener.
        None | Some(Command::Run) => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return Failure::failed(format!("no runtime: {e}")).report(),
    };
    let done = runtime.block_on(dispatch(cli));
    // A disk that hangs must not keep the process.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

async fn dispatch(Cli { config, command }: Cli) -> Result<(), Failure> {
    match command.unwrap_or(Command::Run) {
        Command::Run => run::run(config).await,
        Command::Validate(validate) => validate.run(config).await,
        Command::Token(token) => token.run(config),
        Command::Emit(emit) => emit.run(config).await,
        Command::Topics(topics) => topics.run(config).await,
        Command::Consumers(consumers) => consumers.run(config).await,
        Command::Tail(tail) => tail.run(config).await,
        Command::Tables(tables) => tables.run(config).await,
        Command::Completions(completions) => completions.run(),
        Command::Version => Ok(writeln!(stdout(), "greyhound {}", env!("CARGO_PKG_VERSION"))?),
    }
}
