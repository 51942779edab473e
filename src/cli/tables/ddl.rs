//! `greyhound tables ddl`

use crate::cli::failure::Failure;
use crate::cli::program::{ACTIVITY, MESSAGING, Program};
use clap::{Args, ValueEnum};
use greyhound_sdk::sql::Dialect;
use std::io::{Write, stdout};

const HELP: &str = "\
The tables are those in plugins.activity.store; a relative path starts in the working directory. The output marks the statements to
run again for new hours.

Examples:
  greyhound tables ddl --dialect duckdb > tables.sql && duckdb activity.db -init tables.sql
  greyhound tables ddl --dialect spark > tables.sql && spark-sql --database activity -f tables.sql";

/// The engine.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(in crate::cli) struct Ddl {
    /// The engine that will run the SQL
    #[arg(long, value_enum, value_name = "ENGINE")]
    dialect: Engine,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Engine {
    Hive,
    Spark,
    Trino,
    Duckdb,
}

impl From<Engine> for Dialect {
    fn from(engine: Engine) -> Self {
        match engine {
            Engine::Hive => Self::Hive,
            Engine::Spark => Self::Spark,
            Engine::Trino => Self::Trino,
            Engine::Duckdb => Self::DuckDb,
        }
    }
}

impl Ddl {
    pub(in crate::cli) fn run(self, program: &Program) -> Result<(), Failure> {
        let activity: greyhound_activity::Config = program.plugin(ACTIVITY)?;
        let store = activity.store.parse().map_err(|e| Failure::usage(format!("plugins.activity.store: {e}")))?;
        let tables = greyhound_activity::ddl::statements(self.dialect.into(), &store, &program.tables()?)?;
        let views = match program.contains(MESSAGING) {
            true => greyhound_messaging::views::statements(self.dialect.into()),
            false => String::new(),
        };
        Ok(stdout().write_all((tables + &views).as_bytes())?)
    }
}
