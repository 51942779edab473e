//! `greyhound tables dictionary`

use crate::cli::failure::Failure;
use crate::cli::program::Program;
use arrow_schema::{DataType, Field};
use clap::Args;
use greyhound_activity::ddl::PARTITIONS;
use greyhound_sdk::TopicSchema;
use greyhound_sdk::schema::{DOC, symbols};
use greyhound_sdk::sql::table_name;
use std::fs;
use std::path::PathBuf;

/// What every file says of itself.
const FOOTERS: &str = include_str!("footers.md");

const HELP: &str = "\
The pages come from the documentation in the schemas: README.md lists the tables, <topic>.md the columns of each table.

Example:
  greyhound tables dictionary docs/tables";

/// The directory.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(in crate::cli) struct Dictionary {
    /// The directory of the pages; created if it is missing
    directory: PathBuf,
}

impl Dictionary {
    pub(in crate::cli) fn run(self, program: &Program) -> Result<(), Failure> {
        let unusable = |e| Failure::failed(format!("{}: {e}", self.directory.display()));
        fs::create_dir_all(&self.directory).map_err(unusable)?;
        for (name, text) in pages(&program.tables()?) {
            fs::write(self.directory.join(name), text).map_err(unusable)?;
        }
        Ok(())
    }
}

/// The pages: their names and contents.
fn pages(schemas: &[TopicSchema]) -> Vec<(String, String)> {
    let index = ("README.md".to_owned(), index(schemas));
    schemas.iter().map(|schema| (format!("{}.md", schema.name()), page(schema))).chain([index]).collect()
}

fn index(schemas: &[TopicSchema]) -> String {
    let line = |schema: &TopicSchema| format!("| [{name}]({name}.md) | {} |\n", schema.doc(), name = schema.name());
    let lines: String = schemas.iter().map(line).collect();
    format!(
        "# Tables\n\nMade by `greyhound tables dictionary` of the schemas in `schemas/`.\n\n| table | a row is |\n|---|---|\n{lines}{FOOTERS}"
    )
}

fn page(schema: &TopicSchema) -> String {
    let own = schema.table().fields().iter().map(|field| line(field.name(), &type_name(field), doc(field)));
    let of_path = PARTITIONS.iter().map(|(name, doc)| line(name, "text, from the path", doc));
    let lines: String = own.chain(of_path).collect();
    format!(
        "# {}\n\n{}\n\nIn SQL it is `{}`. [All tables](README.md)\n\n| column | type | meaning | unit | null |\n|---|---|---|---|---|\n{lines}",
        schema.name(),
        schema.doc(),
        table_name(schema.name())
    )
}

fn line(name: &str, sql: &str, doc: &str) -> String {
    let Meaning { meaning, unit, null } = Meaning::of(doc);
    format!("| `{name}` | {sql} | {meaning} | {} | {} |\n", unit.unwrap_or_default(), null.unwrap_or("never"))
}

fn doc(field: &Field) -> &str {
    field.metadata().get(DOC).map_or("", String::as_str)
}

/// The parts of a column's documentation: `Its meaning. Unit: microseconds. Null: when it is null.`
struct Meaning<'a> {
    meaning: &'a str,
    unit: Option<&'a str>,
    null: Option<&'a str>,
}

impl<'a> Meaning<'a> {
    fn of(doc: &'a str) -> Self {
        let part = |text: &'a str, word: &str| match text.split_once(word) {
            Some((before, after)) => (before.trim_end(), Some(after.trim_end_matches('.'))),
            None => (text, None),
        };
        let (rest, null) = part(doc, "Null: ");
        let (meaning, unit) = part(rest, "Unit: ");
        Self { meaning, unit, null }
    }
}

fn type_name(field: &Field) -> String {
    match symbols(field) {
        Some(symbols) => format!("one of `{}`", symbols.join("`, `")),
        None => plain(field.data_type()).to_owned(),
    }
}

/// A type in words that stand for each engine's own.
fn plain(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Boolean => "boolean",
        DataType::Int32 => "int",
        DataType::Int64 => "bigint",
        DataType::Float64 => "double",
        DataType::Binary => "bytes",
        DataType::Timestamp(..) => "timestamp",
        DataType::List(item) => match item.data_type() {
            DataType::Utf8 => "list of text",
            _ => "list",
        },
        _ => "text",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layers;
    use crate::host::Host;
    use greyhound_activity::Activity;
    use greyhound_messaging::Messaging;
    use std::path::Path;

    fn all() -> Vec<TopicSchema> {
        let host = Host::builder().plugin(Messaging::default()).plugin(Activity);
        Program::load(host, &Layers::default()).unwrap().tables().unwrap()
    }

    #[test]
    fn the_pages_in_docs_are_current() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/tables");
        let pages = pages(&all());
        for (name, text) in &pages {
            let kept = fs::read_to_string(directory.join(name)).unwrap_or_default();
            assert_eq!(kept, *text, "{name} is out of date: run `greyhound tables dictionary docs/tables`");
        }
        assert_eq!(fs::read_dir(directory).unwrap().count(), pages.len(), "a page has no table any more");
    }

    #[test]
    fn every_column_says_what_it_means_in_which_unit_and_when_it_is_null() {
        for schema in all() {
            assert!(schema.doc().ends_with('.'), "{}", schema.name());
            for field in schema.table().fields() {
                let (at, doc) = (format!("{}.{}", schema.name(), field.name()), doc(field));
                let meaning = Meaning::of(doc);
                assert!(!meaning.meaning.is_empty() && doc.ends_with('.') && !doc.contains('|'), "{at}: {doc}");
                assert!(doc.len() <= 256, "{at}: a Hive metastore may refuse a longer comment");
                assert_eq!(
                    meaning.null.is_some(),
                    field.is_nullable(),
                    "{at} must say `Null: ...` if it can be null, and only then"
                );
                let counts = ["_us", "_ms", "_bytes"].iter().any(|end| field.name().ends_with(end));
                assert!(meaning.unit.is_some() || !counts, "{at} must say `Unit: ...`");
            }
        }
    }

    #[test]
    fn a_documentation_has_parts() {
        let Meaning { meaning, unit, null } = Meaning::of("How long. Unit: seconds. Null: while it is open.");
        assert_eq!((meaning, unit, null), ("How long.", Some("seconds"), Some("while it is open")));
        let Meaning { meaning, unit, null } = Meaning::of("Who. Null: for nobody.");
        assert_eq!((meaning, unit, null), ("Who.", None, Some("for nobody")));
    }
}
