//! Views for analysts: every topic by its name, and the narrow delivery rows joined with what they name.

use arrow_schema::DataType;
use greyhound_sdk::{SchemaError, TopicSchema};

/// `CREATE VIEW` statements for DuckDB over the tables in `root`: one view a topic of `schemas` (`.` becomes `_`),
/// `messaging_deliveries`, which has a row for each recipient of each message with its furthest outcome, and
/// `messaging_cluster`, which has a row for each message with what became of it on all nodes.
///
/// # Errors
/// Where one of the gateway's own schemas is not valid.
pub fn duckdb(root: &str, others: &[TopicSchema]) -> Result<String, SchemaError> {
    let own = crate::rows::topics()?;
    let mut sql: String = own.iter().chain(others).map(|schema| topic(root, schema)).collect();
    sql.push_str(DELIVERIES);
    sql.push_str(CLUSTER);
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

/// A message from another Greyhound node has the id of its row there. Others are known by the digest of their bytes: where
/// the same bytes are published again within half a second, the nth on one node is the nth on another.
const CLUSTER: &str = "
CREATE OR REPLACE VIEW messaging_cluster AS
WITH steps AS (
  SELECT *, CASE WHEN time - lag(time) OVER (PARTITION BY digest ORDER BY time, shard, seq) <= INTERVAL 500 MILLISECOND THEN 0 ELSE 1 END AS step
  FROM messaging_message WHERE digest IS NOT NULL
), bursts AS (
  SELECT *, sum(step) OVER (PARTITION BY digest ORDER BY time, shard, seq) AS burst FROM steps
), copies AS (
  SELECT * EXCLUDE (step, burst), digest || '/' || burst || '/' || row_number() OVER (PARTITION BY digest, burst, shard ORDER BY seq) AS message_id
  FROM bursts
  UNION ALL BY NAME
  SELECT *, coalesce(origin, shard || ':' || seq) AS message_id FROM messaging_message WHERE digest IS NULL
), outcomes AS (
  SELECT shard, message_seq, count(*) AS deliveries, count(*) FILTER (WHERE outcome IN ('queued', 'acked')) AS told
  FROM messaging_deliveries GROUP BY shard, message_seq
)
SELECT m.message_id, min(m.time) AS time, coalesce(min(m.source) FILTER (WHERE m.origin IS NULL), min(m.source)) AS source,
       min(m.publisher) AS publisher, min(m.namespace) AS namespace, any_value(m.rooms) AS rooms, any_value(m.excluded) AS excluded,
       min(m.event) AS event, min(m.size_bytes) AS size_bytes, list(DISTINCT m.shard ORDER BY m.shard) AS shards,
       sum(m.recipients)::BIGINT AS recipients, coalesce(sum(o.told), 0)::BIGINT AS told
FROM copies m
LEFT JOIN outcomes o ON o.shard = m.shard AND o.message_seq = m.seq
GROUP BY m.message_id;
";
