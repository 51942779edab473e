//! Views for analysts. They join the narrow rows with the rows that they refer to, and combine the nodes of a cluster.

use greyhound_sdk::sql::Dialect;

/// The outcomes of a delivery in order. A recipient's outcome is the furthest in its rows.
const STEPS: [&str; 5] = ["unknown", "dropped", "queued", "unsent", "acked"];

/// Returns `CREATE VIEW` statements over the gateway's tables:
///
/// - `messaging_messages` has a row for each message on each node, with the message's id in the cluster.
/// - `messaging_deliveries` has a row for each recipient of each message, with its furthest outcome.
/// - `messaging_cluster` has a row for each message, with its outcomes on all nodes.
/// - `messaging_memberships` has a row for each stay of a socket in a room.
#[must_use]
pub fn statements(dialect: Dialect) -> String {
    messages(dialect) + &deliveries(dialect) + &cluster(dialect) + &memberships(dialect)
}

/// SQL for the index of `outcome` in [`STEPS`].
fn step() -> String {
    let whens: String =
        STEPS.iter().enumerate().skip(1).map(|(step, name)| format!(" WHEN '{name}' THEN {step}")).collect();
    format!("CASE outcome{whens} ELSE 0 END")
}

/// A message from another Greyhound node has the id of its row there. Other messages are identified by the digest of
/// their bytes: if the same bytes are published again within half a second, the nth on one node is the nth on another.
/// The copies that old emitters publish count as one message.
fn messages(dialect: Dialect) -> String {
    let time = dialect.quoted("time");
    // Messages without a digest are never the same.
    let same = "digest, CASE WHEN digest IS NULL THEN shard END, CASE WHEN digest IS NULL THEN seq END";
    format!(
        "\
-- Each message on each node that received it, with its id across all nodes.
CREATE OR REPLACE VIEW messaging_messages AS
WITH steps AS (
  SELECT *, CASE WHEN {time} - lag({time}) OVER (PARTITION BY {same} ORDER BY {time}, shard, seq) <= INTERVAL '0.5' SECOND THEN 0 ELSE 1 END AS step
  FROM messaging_message
), bursts AS (
  SELECT *, sum(step) OVER (PARTITION BY {same} ORDER BY {time}, shard, seq ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS burst
  FROM steps
), places AS (
  SELECT *, row_number() OVER (PARTITION BY {same}, burst, shard ORDER BY seq) AS place
  FROM bursts
)
SELECT CASE WHEN digest IS NULL THEN coalesce(origin, concat(shard, ':', CAST(seq AS VARCHAR(20))))
            ELSE concat(CAST(digest AS VARCHAR(20)), '/', CAST(burst AS VARCHAR(20)), '/',
                        CAST(CAST(floor((place - 1) / coalesce(copies, 1)) AS BIGINT) AS VARCHAR(20))) END AS message_id,
       shard, seq, {time}, source, publisher, namespace, rooms, excluded, event, size_bytes, recipients, data, origin, digest, copies, dt, hour
FROM places;

"
    )
}

fn deliveries(dialect: Dialect) -> String {
    let (time, step) = (dialect.quoted("time"), step());
    // The user is the same in all rows of a recipient. With it, a query for one user reads only the parts of the files
    // that contain the user.
    let recipient = "PARTITION BY shard, message_seq, connection_seq, user_id";
    format!(
        "\
-- Each recipient of each message: its furthest outcome, and the message and the connection.
CREATE OR REPLACE VIEW messaging_deliveries AS
WITH furthest AS (
  SELECT shard, message_seq, connection_seq, {time}, user_id, outcome, latency_us, dt, hour,
         min(CASE WHEN outcome = 'queued' THEN latency_us END) OVER ({recipient}) AS queued_us,
         min(CASE WHEN outcome = 'acked' THEN latency_us END) OVER ({recipient}) AS acked_us,
         row_number() OVER ({recipient} ORDER BY {step} DESC, seq DESC) AS place
  FROM messaging_delivery
), closed AS (
  SELECT shard, connection_seq, transport FROM messaging_connection WHERE event = 'closed'
)
SELECT m.message_id, d.shard, d.message_seq, d.connection_seq, d.{time}, d.user_id, d.outcome, d.latency_us, d.queued_us, d.acked_us,
       m.namespace, m.rooms, m.event, m.size_bytes, m.source, m.publisher, m.{time} AS published,
       c.transport AS transport_opened, e.transport AS transport_closed, c.protocol, c.address, c.agent, c.origin, d.dt, d.hour
FROM furthest d
LEFT JOIN messaging_messages m ON m.shard = d.shard AND m.seq = d.message_seq
LEFT JOIN messaging_connection c ON c.shard = d.shard AND c.seq = d.connection_seq
LEFT JOIN closed e ON e.shard = d.shard AND e.connection_seq = d.connection_seq
WHERE d.place = 1;

"
    )
}

fn cluster(dialect: Dialect) -> String {
    let (time, step) = (dialect.quoted("time"), step());
    let shards = match dialect {
        Dialect::Hive | Dialect::Spark => "sort_array(collect_set(m.shard))",
        Dialect::Trino | Dialect::DuckDb => "array_sort(array_agg(DISTINCT m.shard))",
    };
    let counted = STEPS
        .iter()
        .enumerate()
        .map(|(step, name)| format!("sum(CASE WHEN step = {step} THEN 1 ELSE 0 END) AS {name}"));
    let counted = counted.collect::<Vec<_>>().join(", ");
    let sum = |what: &str| format!("CAST(sum({what}) AS BIGINT)");
    let of = |outcome: &str| sum(&format!("coalesce(o.{outcome}, 0)"));
    let (recipients, told) = (sum("m.recipients"), sum("coalesce(o.queued + o.acked, 0)"));
    let (acked, unsent, dropped, unknown) = (of("acked"), of("unsent"), of("dropped"), of("unknown"));
    let not_recorded = sum("greatest(m.recipients - coalesce(o.recorded, 0), 0)");
    format!(
        "\
-- Each message, with its outcomes on all nodes: how many recipients were told (some of these acked), and how many were not.
CREATE OR REPLACE VIEW messaging_cluster AS
WITH furthest AS (
  SELECT shard, message_seq, max({step}) AS step FROM messaging_delivery GROUP BY shard, message_seq, connection_seq
), outcomes AS (
  SELECT shard, message_seq, count(*) AS recorded, {counted}
  FROM furthest GROUP BY shard, message_seq
)
SELECT m.message_id, min(m.{time}) AS {time}, coalesce(min(CASE WHEN m.origin IS NULL THEN m.source END), min(m.source)) AS source,
       min(m.publisher) AS publisher, min(m.namespace) AS namespace, min(m.rooms) AS rooms, min(m.excluded) AS excluded,
       min(m.event) AS event, min(m.size_bytes) AS size_bytes, {shards} AS shards, {recipients} AS recipients, {told} AS told,
       {acked} AS acked, {unsent} AS unsent, {dropped} AS dropped, {unknown} AS unknown, {not_recorded} AS not_recorded
FROM messaging_messages m
LEFT JOIN outcomes o ON o.shard = m.shard AND o.message_seq = m.seq
GROUP BY m.message_id;
"
    )
}

/// The rooms of users and sites follow from the authentications. Every stay ends with the connection.
fn memberships(dialect: Dialect) -> String {
    let time = dialect.quoted("time");
    let authenticated = format!("lead({time}) OVER (PARTITION BY shard, connection_seq ORDER BY seq) AS left_at");
    let own = |kind: &str, id: &str| {
        let room = format!("concat('{kind}(', {id}, ')') AS room, 'authentication' AS cause");
        format!(
            "SELECT shard, connection_seq, user_id, {room}, {time}, left_at, dt, hour FROM authenticated WHERE {id} IS NOT NULL"
        )
    };
    format!(
        "
-- Each stay of a socket in a room, except the room of its id. While the socket is in the room, left_at is null.
CREATE OR REPLACE VIEW messaging_memberships AS
WITH authenticated AS (
  SELECT shard, connection_seq, user_id, site, {time}, {authenticated}, dt, hour
  FROM messaging_auth WHERE outcome = 'accepted'
), changes AS (
  SELECT shard, connection_seq, user_id, room, cause, {time}, lead({time}) OVER (PARTITION BY shard, connection_seq, room ORDER BY seq) AS left_at, event, dt, hour
  FROM messaging_membership WHERE event <> 'refused'
), stays AS (
  SELECT shard, connection_seq, user_id, room, cause, {time}, left_at, dt, hour FROM changes WHERE event = 'joined'
  UNION ALL
  {user}
  UNION ALL
  {site}
), closed AS (
  SELECT shard, connection_seq, {time} FROM messaging_connection WHERE event = 'closed'
)
SELECT s.shard, s.connection_seq, c.namespace, s.room, s.user_id, s.cause, s.{time} AS joined_at, coalesce(s.left_at, e.{time}) AS left_at, s.dt, s.hour
FROM stays s
LEFT JOIN messaging_connection c ON c.shard = s.shard AND c.seq = s.connection_seq
LEFT JOIN closed e ON e.shard = s.shard AND e.connection_seq = s.connection_seq;
",
        user = own("user", "user_id"),
        site = own("site", "site"),
    )
}
