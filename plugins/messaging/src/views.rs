//! Views for analysts: every topic by its name, and the narrow delivery rows joined with what they name.

use arrow_schema::DataType;
use greyhound_sdk::{SchemaError, TopicSchema};

/// `CREATE VIEW` statements for DuckDB over the tables in `root`: one view a topic of `schemas` (`.` becomes `_`),
/// and `messaging_deliveries`, which has a row for each recipient of each message with its furthest outcome.
///
/// # Errors
/// Where one of the gateway's own schemas is not valid.
pub fn duckdb(root: &str, others: &[TopicSchema]) -> Result<String, SchemaError> {
    let own = crate::rows::topics()?;
    let mut sql: String = own.iter().chain(others).map(|schema| topic(root, schema)).collect();
    sql.push_str(DELIVERIES);
    Ok(sql)
}

/// A view that has its columns also while its table has no file.
fn topic(root: &str, schema: &TopicSchema) -> String {
    let (name, path) = (schema.name().replace('.', "_"), root.replace('\'', "''"));
    let of_table = schema.table().fields().iter().map(|f| (f.name().as_str(), sql_type(f.data_type())));
    let columns: Vec<_> = of_table.chain(["shard", "dt", "hour"].map(|name| (name, "VARCHAR".to_owned()))).collect();
    let names = columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let typed = columns.iter().map(|(name, sql)| format!("NULL::{sql} AS {name}")).collect::<Vec<_>>().join(", ");
    format!(
        "CREATE OR REPLACE VIEW {name} AS\nSELECT {names}\nFROM (\n  SELECT {typed} WHERE false\n  UNION ALL BY NAME\n  \
         SELECT * FROM read_parquet('{path}/{}/**/*.parquet', hive_partitioning = true, hive_types_autocast = false, \
         union_by_name = true, allow_empty = true)\n);\n\n",
        schema.name()
    )
}

fn sql_type(column: &DataType) -> String {
    match column {
        DataType::Boolean => "BOOLEAN".into(),
        DataType::Int32 => "INTEGER".into(),
        DataType::Int64 => "BIGINT".into(),
        DataType::Float64 => "DOUBLE".into(),
        DataType::Binary => "BLOB".into(),
        DataType::Timestamp(..) => "TIMESTAMPTZ".into(),
        DataType::List(item) => format!("{}[]", sql_type(item.data_type())),
        // Text, and enums, which are text in a table.
        _ => "VARCHAR".into(),
    }
}

const DELIVERIES: &str = "\
CREATE OR REPLACE VIEW messaging_deliveries AS
WITH furthest AS (
  SELECT *, row_number() OVER (
    PARTITION BY shard, message_seq, connection_seq
    ORDER BY CASE outcome WHEN 'acked' THEN 4 WHEN 'unsent' THEN 3 WHEN 'queued' THEN 2 WHEN 'unknown' THEN 1 ELSE 0 END DESC, seq DESC
  ) AS place
  FROM messaging_delivery
)
SELECT d.shard, d.message_seq, d.connection_seq, d.time, d.user_id, d.outcome, d.latency_us,
       m.namespace, m.rooms, m.event, m.size_bytes, m.source, m.publisher, m.time AS published,
       c.transport, c.protocol, c.address, c.agent, c.origin, d.dt, d.hour
FROM furthest d
LEFT JOIN messaging_message m ON m.shard = d.shard AND m.seq = d.message_seq
LEFT JOIN messaging_connection c ON c.shard = d.shard AND c.seq = d.connection_seq
WHERE d.place = 1;
";
