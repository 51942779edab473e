//! The Redis client, built on fred.

use super::open::Open;
use super::sentinel::Sentinel;
use super::{Incoming, Messages, Publication, Redis, RedisError, Subscription};
use async_trait::async_trait;
use bytes::Bytes;
use fred::clients::Client;
use fred::error::{Error, ErrorKind};
use fred::interfaces::{
    ClientLike, ClusterInterface, EventInterface, FredResult, PubsubInterface, SortedSetsInterface,
};
use fred::prelude::{Builder, Config, Options, Server, ServerConfig, Value};
use fred::types::{ClusterHash, ConnectHandle, Message, RespVersion};
use fred::util::redis_keyslot;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::timeout;

/// How long Redis may take for each command.
const REDIS_TIMEOUT: Duration = Duration::from_secs(3);
/// How many messages may wait to be handled; further ones are counted as lost. They wait in the client's own queue:
/// another queue, bounded by bytes, would make a message to one user a tenth more expensive.
const INBOX_MESSAGES: usize = 1 << 13;
/// How many channels one command subscribes to or unsubscribes from.
const CHANNELS_PER_COMMAND: usize = 512;
/// How many members one command adds to or removes from a sorted set.
const MEMBERS_PER_COMMAND: usize = 512;

const SCHEMES: [&str; 12] = [
    "redis",
    "rediss",
    "redis-cluster",
    "rediss-cluster",
    "redis-sentinel",
    "rediss-sentinel",
    "valkey",
    "valkeys",
    "valkey-cluster",
    "valkeys-cluster",
    "valkey-sentinel",
    "valkeys-sentinel",
];

const ESCAPES: &str = "in a password, write #, / and @ as %23, %2F and %40";

/// Checks a URL. The error does not show it, because it may contain a password.
pub(crate) fn check_url(url: &str) -> Result<(), String> {
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    if !SCHEMES.contains(&scheme) {
        return Err("it must begin with redis://, rediss://, redis-cluster:// or redis-sentinel://".into());
    }
    // Parts of a password would be taken for the host, and shown in errors.
    let authority = url[scheme.len() + 3..].split(['/', '?']).next().unwrap_or_default();
    if url.contains('#') || authority.matches('@').count() > 1 {
        return Err(format!("it has {} that is not escaped; {ESCAPES}", if url.contains('#') { "#" } else { "@" }));
    }
    let config = match Config::from_url(url) {
        Ok(config) => config,
        // The certificates on this machine are wrong, not the URL.
        Err(e) if *e.kind() == ErrorKind::Tls => return Ok(()),
        Err(e) => return Err(format!("{}; {ESCAPES}", url_error(&e))),
    };
    if config.server.hosts().iter().any(|host| host.port == 0) {
        return Err("0 is not a port".into());
    }
    match &config.server {
        ServerConfig::Sentinel { service_name, .. } if service_name.is_empty() => {
            Err("sentinelServiceName is empty".into())
        }
        _ => Ok(()),
    }
}

/// Describes an error in a URL.
fn url_error(error: &Error) -> &str {
    match error.details() {
        "EmptyHost" => "the host is missing",
        "InvalidPort" | "Invalid integer string." => "a port is a number up to 65535",
        "InvalidDomainCharacter" | "IdnaError" | "InvalidIpv4Address" | "InvalidIpv6Address" => "the host is invalid",
        other if other.contains(' ') => other,
        _ => "it cannot be parsed",
    }
}

/// Whether a URL asks for TLS.
pub(crate) fn is_over_tls(url: &str) -> bool {
    ["rediss", "valkeys"].iter().any(|scheme| url.starts_with(scheme))
}

/// The servers in a URL, for messages: without user and password.
pub(crate) fn servers(url: &str) -> String {
    let hosts = Config::from_url(url).map(|config| config.server.hosts()).unwrap_or_default();
    let mut hosts: Vec<_> = hosts.iter().map(|server| format!("{}:{}", server.host, server.port)).collect();
    hosts.sort_unstable();
    hosts.join(", ")
}

/// A user or password as an argument of `HELLO`. The client sends this command as a line of text, which Redis splits at
/// spaces and unquotes.
fn quoted(word: String) -> String {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"'\\".contains(&byte);
    if word.bytes().all(is_plain) {
        return word;
    }
    let one = |byte: u8| if is_plain(byte) { char::from(byte).to_string() } else { format!("\\x{byte:02x}") };
    format!("\"{}\"", word.bytes().map(one).collect::<String>())
}

/// Connects. Messages arrive in the order in which Redis sends them.
pub(crate) async fn connect(url: &str) -> Result<(Box<dyn Redis>, Box<dyn Messages>), RedisError> {
    let mut config = Config::from_url(url)?;
    config.version = RespVersion::RESP3;
    config.username = config.username.map(quoted);
    config.password = config.password.map(quoted);
    let servers = servers(url);
    let client = Builder::from_config(config)
        .with_performance_config(|performance| {
            performance.default_command_timeout = REDIS_TIMEOUT;
            performance.broadcast_channel_capacity = INBOX_MESSAGES;
        })
        .with_connection_config(|connection| {
            connection.connection_timeout = REDIS_TIMEOUT;
            connection.internal_command_timeout = REDIS_TIMEOUT;
            connection.max_command_attempts = 1;
            connection.tcp.nodelay = Some(true);
        })
        .build()?;
    let client = Open(client);
    // Ask before connecting: a failover in between is then noticed.
    let sentinel = Sentinel::ask(&client.client_config()).await;
    let (inbox, errors) = (Inbox(client.message_rx()), client.error_rx());
    let connection =
        timeout(2 * REDIS_TIMEOUT, client.init()).await.map_err(|_| RedisError::from("it does not answer"))??;
    let routes = client.cached_cluster_state().map(|state| state.pretty());
    let failures = Mutex::new(Failures { connection, errors });
    Ok((Box::new(Fred { client, servers, routes, sentinel, failures }), Box::new(inbox)))
}

struct Fred {
    client: Open<Client>,
    /// The servers in the URL, for messages.
    servers: String,
    /// The servers of a Redis Cluster and their slots.
    routes: Option<Routes>,
    sentinel: Option<Sentinel>,
    failures: Mutex<Failures>,
}

type Routes = BTreeMap<Server, (Vec<(u16, u16)>, BTreeSet<Server>)>;

/// The signals that a connection broke.
struct Failures {
    /// Ends with the connection.
    connection: ConnectHandle,
    errors: Receiver<(Error, Option<Server>)>,
}

struct Inbox(Receiver<Message>);

impl Fred {
    /// Waits until Redis has processed the commands sent before, because it does not reply to a subscription by itself.
    async fn flush(&self) -> FredResult<()> {
        // In a Redis Cluster, ping the server that subscriptions are sent to.
        let slot = redis_keyslot(self.client.id().as_bytes());
        let options = Options { cluster_hash: Some(ClusterHash::Custom(slot)), ..Options::default() };
        self.client.with_options(&options).ping::<Value>(None).await.map(drop)
    }

    fn error(&self, error: Error) -> RedisError {
        RedisError::from(error).at(&self.servers)
    }

    async fn count(&self, channel: &str, sharded: bool) -> FredResult<usize> {
        let count = |counts: HashMap<String, usize>| counts.get(channel).copied().unwrap_or(0);
        if sharded {
            return Ok(count(self.client.pubsub_shardnumsub(channel).await?));
        }
        let servers = self.servers();
        if servers.is_empty() {
            return Ok(count(self.client.pubsub_numsub(channel).await?));
        }
        let mut sum = 0;
        for server in servers {
            sum += count(self.client.with_cluster_node(server).pubsub_numsub(channel).await?);
        }
        Ok(sum)
    }

    async fn all_channels(&self, pattern: &str) -> FredResult<Vec<String>> {
        let servers = self.servers();
        if servers.is_empty() {
            return self.client.pubsub_channels(pattern).await;
        }
        let mut all: Vec<String> = Vec::new();
        for server in servers {
            all.extend::<Vec<String>>(self.client.with_cluster_node(server).pubsub_channels(pattern).await?);
        }
        Ok(all)
    }

    /// The primaries of a Redis Cluster. Empty if Redis is not a cluster.
    fn servers(&self) -> Vec<Server> {
        self.client.cached_cluster_state().map(|state| state.unique_primary_nodes()).unwrap_or_default()
    }
}

#[async_trait]
impl Redis for Fred {
    async fn subscribe(&self, to: &[Subscription]) -> Result<(), RedisError> {
        let grouped = Grouped::new(to);
        for channels in grouped.channels.chunks(CHANNELS_PER_COMMAND) {
            self.client.subscribe(channels.to_vec()).await?;
        }
        for patterns in grouped.patterns.chunks(CHANNELS_PER_COMMAND) {
            self.client.psubscribe(patterns.to_vec()).await?;
        }
        for shard in grouped.shards {
            self.client.ssubscribe(shard).await?;
        }
        Ok(self.flush().await?)
    }

    async fn unsubscribe(&self, from: &[Subscription]) -> Result<(), RedisError> {
        let grouped = Grouped::new(from);
        for channels in grouped.channels.chunks(CHANNELS_PER_COMMAND) {
            self.client.unsubscribe(channels.to_vec()).await?;
        }
        for patterns in grouped.patterns.chunks(CHANNELS_PER_COMMAND) {
            self.client.punsubscribe(patterns.to_vec()).await?;
        }
        for shard in grouped.shards {
            self.client.sunsubscribe(shard).await?;
        }
        Ok(())
    }

    async fn publish(&self, publications: &[Publication]) -> Vec<Result<(), RedisError>> {
        let pipeline = self.client.pipeline();
        for Publication { channel, body, sharded } in publications {
            // On a pipeline, this only queues the command.
            let queued: FredResult<()> = match sharded {
                false => pipeline.publish(channel.as_str(), Value::Bytes(body.clone())).await,
                true => pipeline.spublish(channel.as_str(), Value::Bytes(body.clone())).await,
            };
            debug_assert!(queued.is_ok());
        }
        let mut outcomes: Vec<_> =
            pipeline.try_all::<Value>().await.into_iter().map(|r| r.map(drop).map_err(|e| self.error(e))).collect();
        // A failed pipeline returns one error for all commands.
        if let Some(Err(all)) = outcomes.first().cloned() {
            outcomes.resize(publications.len(), Err(all));
        }
        outcomes
    }

    async fn subscribers(&self, channel: &str, sharded: bool) -> Result<usize, RedisError> {
        self.count(channel, sharded).await.map_err(|e| self.error(e))
    }

    async fn channels(&self, pattern: &str) -> Result<Vec<String>, RedisError> {
        self.all_channels(pattern).await.map_err(|e| self.error(e))
    }

    async fn members(&self, key: &str, min: u64, max: usize) -> Result<Vec<Bytes>, RedisError> {
        let limit = Some((0, i64::try_from(max).unwrap_or(i64::MAX)));
        let members = self.client.zrevrangebyscore(key, "+inf", score(min), false, limit).await;
        members.map_err(|e| self.error(e))
    }

    async fn replace_members(
        &self,
        key: &str,
        added: Vec<(u64, Bytes)>,
        removed: Vec<Bytes>,
        min: u64,
    ) -> Result<(), RedisError> {
        for members in added.chunks(MEMBERS_PER_COMMAND) {
            let members: Vec<(f64, Value)> =
                members.iter().map(|(at, member)| (score(*at), Value::Bytes(member.clone()))).collect();
            self.client.zadd::<(), _, _>(key, None, None, false, false, members).await.map_err(|e| self.error(e))?;
        }
        for members in removed.chunks(MEMBERS_PER_COMMAND) {
            let members: Vec<Value> = members.iter().cloned().map(Value::Bytes).collect();
            self.client.zrem::<(), _, _>(key, members).await.map_err(|e| self.error(e))?;
        }
        let below = score(min) - 1.0;
        self.client.zremrangebyscore::<(), _, _, _>(key, "-inf", below).await.map_err(|e| self.error(e))
    }

    fn one_on_each_server(&self, prefix: &str) -> Vec<String> {
        let Some(state) = self.client.cached_cluster_state() else { return vec![prefix.to_owned()] };
        let mut found: HashMap<&Server, String> = HashMap::new();
        let servers = state.unique_primary_nodes().len();
        let names = (0_u32..).map(|n| format!("{prefix}{n}")).take(1 << 14);
        for name in names {
            if let Some(server) = state.get_server(redis_keyslot(name.as_bytes())) {
                found.entry(server).or_insert(name);
            }
            if found.len() == servers {
                break;
            }
        }
        found.into_values().collect()
    }

    async fn check(&self) -> Result<(), RedisError> {
        if self.routes.is_some() {
            timeout(REDIS_TIMEOUT, self.client.sync_cluster())
                .await
                .map_err(|_| RedisError::from("the cluster does not answer"))??;
            if self.client.cached_cluster_state().map(|state| state.pretty()) != self.routes {
                return Err("the cluster has moved slots".into());
            }
        }
        match &self.sentinel {
            Some(sentinel) if sentinel.names_another().await => Err("the sentinel names another primary".into()),
            _ => Ok(()),
        }
    }

    async fn broken(&self) -> RedisError {
        let Failures { connection, errors } = &mut *self.failures.lock().await;
        tokio::select! {
            error = errors.recv() => match error {
                Ok((error, _)) => error.into(),
                Err(_) => "the connection ended".into(),
            },
            ended = connection => match ended {
                Ok(Err(error)) => error.into(),
                _ => "the connection ended".into(),
            },
        }
    }

    async fn close(&self) {
        let _ = timeout(REDIS_TIMEOUT, self.client.quit()).await;
    }
}

#[async_trait]
impl Messages for Inbox {
    async fn next(&mut self) -> Option<Incoming> {
        loop {
            match self.0.recv().await {
                Ok(message) => match incoming(message) {
                    None => {}
                    incoming => return incoming,
                },
                Err(RecvError::Lagged(count)) => return Some(Incoming::Lost(count)),
                Err(RecvError::Closed) => return None,
            }
        }
    }

    fn arrived(&mut self) -> Option<Incoming> {
        loop {
            match self.0.try_recv() {
                Ok(message) => match incoming(message) {
                    None => {}
                    incoming => return incoming,
                },
                Err(TryRecvError::Lagged(count)) => return Some(Incoming::Lost(count)),
                Err(TryRecvError::Closed | TryRecvError::Empty) => return None,
            }
        }
    }
}

/// Scores are floating-point numbers. Those of this millennium in milliseconds are exact.
#[expect(clippy::cast_precision_loss)]
fn score(number: u64) -> f64 {
    number as f64
}

fn incoming(Message { channel, value, .. }: Message) -> Option<Incoming> {
    match value {
        Value::Bytes(body) => Some(Incoming::Message { channel, body }),
        Value::String(text) => Some(Incoming::Message { channel, body: text.into_inner() }),
        // Redis sends no other values.
        _ => None,
    }
}

/// Subscriptions, grouped by command.
struct Grouped<'a> {
    channels: Vec<&'a str>,
    patterns: Vec<&'a str>,
    shards: Vec<&'a str>,
}

impl<'a> Grouped<'a> {
    fn new(all: &'a [Subscription]) -> Self {
        let mut grouped = Self { channels: Vec::new(), patterns: Vec::new(), shards: Vec::new() };
        for subscription in all {
            match subscription {
                Subscription::Channel(name) => grouped.channels.push(name),
                Subscription::Pattern(glob) => grouped.patterns.push(glob),
                Subscription::Shard(name) => grouped.shards.push(name),
            }
        }
        grouped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_with_spaces_or_quotes_are_quoted() {
        assert_eq!(quoted("pass#word".into()), "pass#word");
        assert_eq!(quoted("a b\"c".into()), r#""a\x20b\x22c""#);
        assert_eq!(quoted("ü\r\n".into()), r#""\xc3\xbc\x0d\x0a""#);
    }

    #[test]
    fn servers_are_shown_without_passwords() {
        assert_eq!(servers("redis://user:secret@a:7?x=y"), "a:7");
        assert_eq!(servers("redis-cluster://:secret@a:1?node=b:2"), "a:1, b:2");
    }
}
