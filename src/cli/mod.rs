//! The command line. Each subcommand has a file.

mod admin;
mod completions;
mod consumers;
mod emit;
mod failure;
mod new;
mod program;
mod revoke;
mod run;
mod tables;
mod tail;
#[cfg(test)]
mod tests;
mod text;
mod tls_client;
mod token;
mod topics;
mod validate;

use crate::config::Layers;
use crate::host::HostBuilder;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use failure::Failure;
use program::{ACTIVITY, MESSAGING, Program, program_name};
use std::io::{Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

/// An event bus with a socket.io gateway and a Parquet activity log.
///
/// Without a command, starts the program with `greyhound.toml` in the working directory, or with the defaults if there is none.
#[derive(Debug, Parser)]
#[command(name = "greyhound", version)]
struct Cli {
    /// The configuration file [default: greyhound.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

/// The end of the help. It mentions clients only if the program has a gateway for them.
fn help(has_clients: bool) -> String {
    let [examples, variable, status] = if has_clients { OF_CLIENTS } else { [""; 3] };
    format!(
        "\
Examples:
  greyhound                                            start the program
  greyhound --config /etc/greyhound.toml validate      find mistakes in a configuration
  greyhound validate --connect                         ... and try what the program depends on
{examples}  greyhound tail greyhound.gap                         show the rows of a topic as they become durable

Environment:
  GREYHOUND__SECTION__KEY   overrides a key: GREYHOUND__NODE__DATA_DIR sets data_dir in [node]
{variable}  RUST_LOG                  what to log: warn, info, greyhound=debug
  NO_COLOR                  no colours

Exit status:
  0  success
  1  failure
  2  wrong usage or configuration{status}"
    )
}

const OF_CLIENTS: [&str; 3] = [
    "  greyhound token --user 1                             mint a token for user 1
  greyhound emit --room 'user(1)' message '\"hello\"'    publish a message to every device of user 1
",
    "  PORT                      the port that clients connect to
",
    "
  3  partial success: a message or a revocation reached only this node",
];

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the program (the default)
    Run,
    /// Find mistakes in the configuration without starting the program
    Validate(validate::Validate),
    /// Mint a token with which a client authenticates
    Token(token::Token),
    /// Publish a message through the running program
    Emit(emit::Emit),
    /// Revoke tokens, and disconnect the clients that use them
    Revoke(revoke::Revoke),
    /// List topics, their rows and their consumers
    Topics(topics::Topics),
    /// List, reset and delete consumers
    Consumers(consumers::Consumers),
    /// Show the rows of a topic as they become durable
    Tail(tail::Tail),
    /// Describe, verify and repair the tables
    #[command(subcommand)]
    Tables(tables::Tables),
    /// Create a project for a plugin of your own
    #[command(subcommand)]
    New(new::New),
    /// Print completions for a shell
    Completions(completions::Completions),
    /// Print the version
    Version,
}

/// Commands of a plugin. A program without the plugin does not list them, and reports why it cannot run them.
const OF_PLUGINS: [(&str, &str); 4] =
    [("token", MESSAGING), ("emit", MESSAGING), ("revoke", MESSAGING), ("tables", ACTIVITY)];

/// Runs the program that has these plugins, as its command line says. The plugins of a team get every command of
/// `greyhound`, with their own topics:
///
/// ```no_run
/// use greyhound::activity::Activity;
/// use greyhound::messaging::Messaging;
/// use greyhound::{Host, cli};
///
/// fn main() -> std::process::ExitCode {
///     cli::main(Host::builder().plugin(Messaging::default()).plugin(Activity))
/// }
/// ```
pub fn main(plugins: HostBuilder) -> ExitCode {
    let matches = command(&plugins, &program_name()).get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|e| e.exit());
    if let Some(failure) = matches.subcommand_name().and_then(|name| missing_plugin(&plugins, name)) {
        return failure.report();
    }
    let mut builder = match cli.command {
        // The host starts threads of its own for the plugins. This thread serves signals and the admin listener.
        None | Some(Command::Run) => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return Failure::failed(format!("cannot start the threads of the program: {e}")).report(),
    };
    let done = runtime.block_on(dispatch(plugins, cli));
    // A disk that hangs must not keep the process.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

async fn dispatch(plugins: HostBuilder, Cli { config, command }: Cli) -> Result<(), Failure> {
    let layers = Layers::of_process(config);
    let load = |plugins| Program::load(plugins, &layers);
    match command.unwrap_or(Command::Run) {
        Command::Run => run::run(plugins, &layers).await,
        Command::Validate(validate) => validate.run(load(plugins)?).await,
        Command::Token(token) => token.run(&load(plugins)?),
        Command::Emit(emit) => emit.run(&load(plugins)?).await,
        Command::Revoke(revoke) => revoke.run(&load(plugins)?).await,
        Command::Topics(topics) => topics.run(&load(plugins)?).await,
        Command::Consumers(consumers) => consumers.run(&load(plugins)?).await,
        Command::Tail(tail) => tail.run(&load(plugins)?).await,
        Command::Tables(tables) => tables.run(&load(plugins)?).await,
        Command::New(new) => new.run(),
        Command::Completions(completions) => {
            let name = program_name();
            completions.run(self::command(&plugins, &name), &name)
        }
        Command::Version => Ok(writeln!(stdout(), "greyhound {}", env!("CARGO_PKG_VERSION"))?),
    }
}

/// The command line of a program with these plugins that is called `name`.
fn command(plugins: &HostBuilder, name: &str) -> clap::Command {
    let all = called(Cli::command().after_help(help(plugins.contains(MESSAGING))), name);
    let absent = OF_PLUGINS.into_iter().filter(|(_, plugin)| !plugins.contains(plugin));
    absent.fold(all, |command, (name, _)| command.mut_subcommand(name, |it| it.hide(true)))
}

/// Lets the examples in the help texts call the program by its name.
fn called(command: clap::Command, name: &str) -> clap::Command {
    // A command stands at the start of a line or in parentheses. Elsewhere the word may be part of a path.
    let rename = |help: String, before| help.replace(&format!("{before}greyhound "), &format!("{before}{name} "));
    let help = command.get_after_help().map(|help| ["\n  ", "<("].into_iter().fold(help.to_string(), rename));
    let command = command.mut_subcommands(|it| called(it, name));
    match help {
        Some(help) => command.after_help(help),
        None => command,
    }
}

/// Why the command `name` cannot run in a program with these plugins.
fn missing_plugin(plugins: &HostBuilder, name: &str) -> Option<Failure> {
    let (_, plugin) = OF_PLUGINS.into_iter().find(|(command, plugin)| *command == name && !plugins.contains(plugin))?;
    Some(Failure::usage(format!(
        "`{name}` is a command of the plugin `{plugin}`, which is not part of this program: add it to the plugins in its `main`"
    )))
}
