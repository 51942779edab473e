//! Views for analysts: the narrow rows joined with what they name.

use greyhound_sdk::sql::Dialect;

/// `CREATE VIEW` statements over the gateway's tables: `messaging_deliveries` has a row for each recipient of each
/// message, with its furthest outcome; `messaging_cluster` has a row for each message, with what became of it on all nodes.
#[must_use]
pub fn statements(dialect: Dialect) -> String {
    deliveries(dialect) + &cluster(dialect)
}

fn deliveries(dialect: Dialect) -> String {
    let time = dialect.quoted("time");
    format!(
        "\
-- Each recipient of each message: its furthest outcome, and what the delivery names.
CREATE OR REPLACE VIEW messaging_deliveries AS
WITH furthest AS (
  SELECT *, row_number() OVER (
    PARTITION BY shard, message_seq, connection_seq
    ORDER BY CASE outcome WHEN 'acked' THEN 4 WHEN 'unsent' THEN 3 WHEN 'queued' THEN 2 WHEN 'unknown' THEN 1 ELSE 0 END DESC, seq DESC
  ) AS place
  FROM messaging_delivery
)
SELECT d.shard, d.message_seq, d.connection_seq, d.{time}, d.user_id, d.outcome, d.latency_us,
       m.namespace, m.rooms, m.event, m.size_bytes, m.source, m.publisher, m.{time} AS published,
       c.transport, c.protocol, c.address, c.agent, c.origin, d.dt, d.hour
FROM furthest d
LEFT JOIN messaging_message m ON m.shard = d.shard AND m.seq = d.message_seq
LEFT JOIN messaging_connection c ON c.shard = d.shard AND c.seq = d.connection_seq
WHERE d.place = 1;

"
    )
}

/// A message from another Greyhound node has the id of its row there. Others are known by the digest of their bytes: where
/// the same bytes are published again within half a second, the nth on one node is the nth on another.
fn cluster(dialect: Dialect) -> String {
    let time = dialect.quoted("time");
    let shards = match dialect {
        Dialect::Hive | Dialect::Spark => "sort_array(collect_set(m.shard))",
        Dialect::Trino | Dialect::DuckDb => "array_sort(array_agg(DISTINCT m.shard))",
    };
    format!(
        "\
-- Each message, with what became of it on all nodes.
CREATE OR REPLACE VIEW messaging_cluster AS
WITH steps AS (
  SELECT shard, seq, digest, {time},
         CASE WHEN {time} - lag({time}) OVER (PARTITION BY digest ORDER BY {time}, shard, seq) <= INTERVAL '0.5' SECOND THEN 0 ELSE 1 END AS step
  FROM messaging_message WHERE digest IS NOT NULL
), bursts AS (
  SELECT shard, seq, digest,
         sum(step) OVER (PARTITION BY digest ORDER BY {time}, shard, seq ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS burst
  FROM steps
), ids AS (
  SELECT shard, seq, concat(CAST(digest AS VARCHAR(20)), '/', CAST(burst AS VARCHAR(20)), '/',
           CAST(row_number() OVER (PARTITION BY digest, burst, shard ORDER BY seq) AS VARCHAR(20))) AS message_id
  FROM bursts
  UNION ALL
  SELECT shard, seq, coalesce(origin, concat(shard, ':', CAST(seq AS VARCHAR(20)))) AS message_id FROM messaging_message WHERE digest IS NULL
), outcomes AS (
  SELECT shard, message_seq, sum(CASE WHEN outcome IN ('queued', 'acked') THEN 1 ELSE 0 END) AS told
  FROM messaging_deliveries GROUP BY shard, message_seq
)
SELECT i.message_id, min(m.{time}) AS {time}, coalesce(min(CASE WHEN m.origin IS NULL THEN m.source END), min(m.source)) AS source,
       min(m.publisher) AS publisher, min(m.namespace) AS namespace, min(m.rooms) AS rooms, min(m.excluded) AS excluded,
       min(m.event) AS event, min(m.size_bytes) AS size_bytes, {shards} AS shards,
       CAST(sum(m.recipients) AS BIGINT) AS recipients, CAST(coalesce(sum(o.told), 0) AS BIGINT) AS told
FROM ids i
JOIN messaging_message m ON m.shard = i.shard AND m.seq = i.seq
LEFT JOIN outcomes o ON o.shard = i.shard AND o.message_seq = i.seq
GROUP BY i.message_id;
"
    )
}
