//! The SQL that makes the tables known to an engine: one statement for each table, with the schema's documentation.

use crate::store::Location;
use arrow_schema::DataType;
use greyhound_sdk::TopicSchema;
use greyhound_sdk::schema::DOC;
use greyhound_sdk::sql::{Dialect, table_name};
use std::io;

/// The partition columns, which come from the path, and their meaning. They are strings, because `hour` has a leading
/// zero.
pub const PARTITIONS: [(&str, &str); 3] = [
    ("dt", "The day of `time`, YYYY-MM-DD, UTC."),
    ("hour", "The hour of `time`, 00 to 23, UTC."),
    ("shard", "The journal that numbered the row: the node's name and 8 hex digits. With `seq` it identifies the row."),
];

/// The statements for all tables of `schemas` at `location`, and those that keep them up to date.
///
/// # Errors
/// If a relative path cannot be made absolute.
pub fn statements(dialect: Dialect, location: &Location, schemas: &[TopicSchema]) -> io::Result<String> {
    let root = root(dialect, location)?;
    let tables: String = schemas.iter().map(|schema| Table::new(dialect, &root, schema).statement()).collect();
    Ok(format!("-- The tables in {location}.\n{}\n{tables}{}", head(dialect), new_hours(dialect, schemas)))
}

/// The root of the tables, in the engine's notation.
fn root(dialect: Dialect, location: &Location) -> io::Result<String> {
    Ok(match (location, dialect) {
        (Location::Local(path), Dialect::DuckDb) => std::path::absolute(path)?.display().to_string(),
        (Location::Local(path), _) => format!("file://{}", std::path::absolute(path)?.display()),
        (Location::Hdfs(hdfs), Dialect::DuckDb) => format!("webhdfs://{}", hdfs.root()),
        (Location::Hdfs(_), _) => location.to_string(),
    })
}

/// DuckDB 1.x has no `allow_empty`, and a table function takes no subquery, so a variable holds whether there are
/// files. Once this is outdated, the view fails instead of having no rows; each of its columns fails, because otherwise
/// a filter could be evaluated without the error.
const DUCKDB_HEAD: &str = "\
-- For DuckDB 1.1 or later. New hours appear unaided; after an upgrade of Greyhound, run it again. In DuckDB 1.x, run it in each
-- session: a table without a file is empty until this is run again, and says so when it gets one.
-- webhdfs:// needs a file system of fsspec to be registered.
CREATE OR REPLACE MACRO greyhound_rows(files, columns, has_none) AS CASE WHEN has_none AND version() < 'v2' THEN
  'SELECT ' || replace(columns, 'NULL::', 'stale::') || ' FROM (SELECT if(error(''there are rows now: run the SQL of `greyhound tables '
  || 'ddl --dialect duckdb` again (they are in '' || file || '')'') IS NULL, NULL, file) AS stale FROM glob(' || files || ')) WHERE stale IS NULL'
ELSE
  'SELECT ' || columns || ' WHERE false UNION ALL BY NAME SELECT * FROM read_parquet(' || files || ', hive_partitioning = true, '
  || 'hive_types_autocast = false, union_by_name = true' || CASE WHEN version() < 'v2' THEN '' ELSE ', allow_empty = true' END || ')'
END;
";

fn head(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::DuckDb => DUCKDB_HEAD,
        Dialect::Trino => {
            "-- Run it with the catalog of a Hive connector and the schema `greyhound` as the current ones, once each table has its directory: after\n\
             -- the first full hour. After an upgrade of Greyhound that adds columns, drop the tables and run it again: the files stay.\n\
             -- Times have milliseconds, Trino's default: where hive.timestamp-precision is another, write timestamp(6) or timestamp(9).\n"
        }
        Dialect::Hive | Dialect::Spark => {
            "-- Run it in the database that is to have them, once each table has its directory: after the first full hour.\n\
             -- After an upgrade of Greyhound that adds columns, drop the tables and run it again: the files stay.\n"
        }
    }
}

/// One topic's table, for one engine.
struct Table<'a> {
    dialect: Dialect,
    name: String,
    schema: &'a TopicSchema,
    /// Its directory.
    place: String,
}

struct Column<'a> {
    name: &'a str,
    /// Its type.
    sql: String,
    doc: &'a str,
}

// === impl Table ===

impl<'a> Table<'a> {
    fn new(dialect: Dialect, root: &str, schema: &'a TopicSchema) -> Self {
        Self { dialect, name: table_name(schema.name()), schema, place: format!("{root}/{}", schema.name()) }
    }

    fn statement(&self) -> String {
        match self.dialect {
            Dialect::Hive => self.hive(),
            Dialect::Spark => self.spark(),
            Dialect::Trino => self.trino(),
            Dialect::DuckDb => self.duckdb(),
        }
    }

    fn hive(&self) -> String {
        let (name, own, of_path, doc, place) =
            (&self.name, self.list(self.own()), self.list(self.of_path()), self.doc(), self.place());
        format!(
            "CREATE EXTERNAL TABLE IF NOT EXISTS {name} (\n{own}\n)\nCOMMENT {doc}\nPARTITIONED BY (\n{of_path}\n)\nSTORED AS PARQUET\n\
             LOCATION {place}\nTBLPROPERTIES ('discover.partitions' = 'true', 'external.table.purge' = 'false');\n\n"
        )
    }

    fn spark(&self) -> String {
        let (name, columns, doc, place) = (&self.name, self.list(self.columns()), self.doc(), self.place());
        format!(
            "CREATE TABLE IF NOT EXISTS {name} (\n{columns}\n)\nUSING parquet\nPARTITIONED BY (dt, hour, shard)\nCOMMENT {doc}\n\
             LOCATION {place};\n\n"
        )
    }

    fn trino(&self) -> String {
        let (name, columns, doc, place) = (&self.name, self.list(self.columns()), self.doc(), self.place());
        format!(
            "CREATE TABLE IF NOT EXISTS {name} (\n{columns}\n)\nCOMMENT {doc}\nWITH (\n  format = 'PARQUET',\n  \
             partitioned_by = ARRAY['dt', 'hour', 'shard'],\n  external_location = {place}\n);\n\n"
        )
    }

    /// A view that has its columns even if the table has no files.
    fn duckdb(&self) -> String {
        let (name, doc) = (&self.name, self.doc());
        let files = self.dialect.literal(&format!("{}/dt=*/hour=*/shard=*/*.parquet", pattern(&self.place)));
        let literal = self.dialect.literal(&files);
        let columns: Vec<_> = self.columns().collect();
        let names = columns.iter().map(|c| c.quoted(self.dialect)).collect::<Vec<_>>().join(", ");
        let typed = columns
            .iter()
            .map(|c| format!("NULL::{} AS {}", c.sql, c.quoted(self.dialect)))
            .collect::<Vec<_>>()
            .join(", ");
        let comment = |c: &Column| {
            format!("COMMENT ON COLUMN {name}.{} IS {};\n", c.quoted(self.dialect), self.dialect.literal(c.doc))
        };
        let comments: String = columns.iter().map(comment).collect();
        format!(
            "SET VARIABLE {name}_has_none = (SELECT count(*) = 0 FROM glob({files}));\nCREATE OR REPLACE VIEW {name} AS\n\
             SELECT {names}\nFROM query(greyhound_rows(\n  {literal},\n  '{typed}',\n  getvariable('{name}_has_none')\n));\n\
             COMMENT ON VIEW {name} IS {doc};\n{comments}\n"
        )
    }

    fn columns(&self) -> impl Iterator<Item = Column<'a>> {
        self.own().chain(self.of_path())
    }

    fn own(&self) -> impl Iterator<Item = Column<'a>> {
        let dialect = self.dialect;
        self.schema.table().fields().iter().map(move |field| Column {
            name: field.name(),
            sql: sql_type(dialect, field.data_type()),
            doc: field.metadata().get(DOC).map_or("", String::as_str),
        })
    }

    fn of_path(&self) -> impl Iterator<Item = Column<'a>> {
        let dialect = self.dialect;
        PARTITIONS.iter().map(move |(name, doc)| Column { name, sql: text(dialect), doc })
    }

    fn list<'c>(&self, columns: impl Iterator<Item = Column<'c>>) -> String {
        let line =
            |c: Column| format!("  {} {} COMMENT {}", c.quoted(self.dialect), c.sql, self.dialect.literal(c.doc));
        columns.map(line).collect::<Vec<_>>().join(",\n")
    }

    fn doc(&self) -> String {
        self.dialect.literal(self.schema.doc())
    }

    fn place(&self) -> String {
        self.dialect.literal(&self.place)
    }
}

// === impl Column ===

impl Column<'_> {
    fn quoted(&self, dialect: Dialect) -> String {
        dialect.quoted(self.name)
    }
}

/// A DuckDB pattern that matches only this path.
fn pattern(path: &str) -> String {
    path.replace('[', "[[]").replace('*', "[*]").replace('?', "[?]")
}

/// The statements that add new hours to an engine and drop removed ones.
fn new_hours(dialect: Dialect, schemas: &[TopicSchema]) -> String {
    let each = |statement: &dyn Fn(&str) -> String| {
        schemas.iter().map(|s| statement(&table_name(s.name()))).collect::<String>()
    };
    let repair = |name: &str| format!("MSCK REPAIR TABLE {name} SYNC PARTITIONS;\n");
    match dialect {
        Dialect::Hive => {
            format!(
                "-- New hours: Hive 4 looks for them itself (discover.partitions). Before, schedule this.\n{}\n",
                each(&repair)
            )
        }
        Dialect::Spark => format!("-- New hours: schedule this, as often as they are to appear.\n{}\n", each(&repair)),
        Dialect::Trino => {
            let sync = |name: &str| {
                format!(
                    "CALL system.sync_partition_metadata(schema_name => 'greyhound', table_name => '{name}', mode => 'FULL');\n"
                )
            };
            format!("-- New hours: schedule this, as often as they are to appear.\n{}\n", each(&sync))
        }
        Dialect::DuckDb => String::new(),
    }
}

fn sql_type(dialect: Dialect, column: &DataType) -> String {
    match (column, dialect) {
        (DataType::Boolean, _) => "BOOLEAN".into(),
        (DataType::Int32, _) => "INT".into(),
        (DataType::Int64, _) => "BIGINT".into(),
        (DataType::Float64, _) => "DOUBLE".into(),
        (DataType::Binary, Dialect::Trino) => "VARBINARY".into(),
        (DataType::Binary, Dialect::DuckDb) => "BLOB".into(),
        (DataType::Binary, _) => "BINARY".into(),
        (DataType::Timestamp(..), Dialect::Trino) => "TIMESTAMP(3)".into(),
        (DataType::Timestamp(..), Dialect::DuckDb) => "TIMESTAMPTZ".into(),
        (DataType::Timestamp(..), _) => "TIMESTAMP".into(),
        (DataType::List(item), Dialect::Trino) => format!("ARRAY({})", sql_type(dialect, item.data_type())),
        (DataType::List(item), Dialect::DuckDb) => format!("{}[]", sql_type(dialect, item.data_type())),
        (DataType::List(item), _) => format!("ARRAY<{}>", sql_type(dialect, item.data_type())),
        // Strings, and enums, which are strings in a table.
        _ => text(dialect),
    }
}

fn text(dialect: Dialect) -> String {
    match dialect {
        Dialect::Hive | Dialect::Spark => "STRING".into(),
        Dialect::Trino | Dialect::DuckDb => "VARCHAR".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AVRO: &str = r#"{"type": "record", "namespace": "shop", "name": "order", "doc": "It's an order.", "fields": [
        {"name": "state", "type": {"type": "enum", "name": "state", "symbols": ["open", "paid"]}, "doc": "Its state."},
        {"name": "tags", "type": {"type": "array", "items": "string"}, "doc": "Its tags."}]}"#;

    fn sql(dialect: Dialect, store: &str) -> String {
        statements(dialect, &store.parse().unwrap(), &[TopicSchema::from_avro(AVRO).unwrap()]).unwrap()
    }

    #[test]
    fn a_table_is_where_its_engine_finds_it() {
        let here = std::env::current_dir().unwrap().display().to_string();
        for (dialect, store, place) in [
            (Dialect::DuckDb, "data/tables", format!("'{here}/data/tables/shop.order/dt=*/hour=*/shard=*/*.parquet'")),
            (Dialect::DuckDb, "/a's [b]?*", r"'/a''s [[]b][?][*]/shop.order/dt=*/hour=*/shard=*/*.parquet'".to_owned()),
            (Dialect::Spark, "data/tables", format!("LOCATION 'file://{here}/data/tables/shop.order'")),
            (Dialect::Spark, "/a's [b]?*", r"LOCATION 'file:///a\'s [b]?*/shop.order'".to_owned()),
            (Dialect::Trino, "/a's [b]?*", "external_location = 'file:///a''s [b]?*/shop.order'".to_owned()),
            (Dialect::DuckDb, "hdfs://n:8020/w", "'webhdfs:///w/shop.order/dt=*/hour=*/shard=*/*.parquet'".to_owned()),
            (Dialect::Hive, "hdfs://n:8020/w", "LOCATION 'hdfs://n:8020/w/shop.order'".to_owned()),
            (Dialect::Trino, "hdfs://cluster/w", "external_location = 'hdfs://cluster/w/shop.order'".to_owned()),
        ] {
            let sql = sql(dialect, store);
            assert!(sql.contains(&place), "{place} is not in {sql}");
        }
    }

    #[test]
    fn columns_have_the_types_and_words_of_their_engine() {
        for (dialect, column) in [
            (Dialect::Hive, "`tags` ARRAY<STRING> COMMENT 'Its tags.'"),
            (Dialect::Trino, "\"tags\" ARRAY(VARCHAR) COMMENT 'Its tags.'"),
            (Dialect::Spark, "`state` STRING COMMENT 'Its state.'"),
            (Dialect::Spark, "COMMENT 'It\\'s an order.'"),
            (Dialect::DuckDb, "NULL::VARCHAR[] AS \"tags\""),
        ] {
            let sql = sql(dialect, "hdfs://n:8020/w");
            assert!(sql.contains(column), "{column} is not in {sql}");
        }
    }
}
