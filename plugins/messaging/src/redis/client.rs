//! The client: fred.

use super::sentinel::Sentinel;
use super::{Incoming, Messages, Publication, Redis, RedisError, Subscription};
use async_trait::async_trait;
use fred::clients::Client;
use fred::error::{Error, ErrorKind};
use fred::interfaces::{ClientLike, ClusterInterface, EventInterface, FredResult, PubsubInterface};
use fred::prelude::{Builder, Config, Options, Server, ServerConfig, Value};
use fred::types::{ClusterHash, ConnectHandle, Message, RespVersion};
use fred::util::redis_keyslot;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Deref;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::timeout;

/// How long Redis may take for anything.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);
/// So many messages may wait to be handled; more are counted as lost. In the client's own queue: to take them over into
/// another one, bounded by bytes, would cost a message to one user a tenth more.
const INBOX: usize = 1 << 13;
/// So many channels are subscribed to by one command.
const AT_ONCE: usize = 512;

/// What a URL may begin with.
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

/// Says what is wrong with a URL, without showing it: it may have a password.
pub(crate) fn check_url(url: &str) -> Result<(), String> {
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    if !SCHEMES.contains(&scheme) {
        return Err("it begins with none of redis://, rediss://, redis-cluster:// and redis-sentinel://".into());
    }
    let config = match Config::from_url(url) {
        Ok(config) => config,
        // Of the certificates on this machine, not of the URL.
        Err(e) if *e.kind() == ErrorKind::Tls => return Ok(()),
        Err(e) => return Err(format!("{}; a password's #, / and @ are written %23, %2F and %40", url_error(&e))),
    };
    if config.server.hosts().iter().any(|host| host.port == 0) {
        return Err("port 0 is none".into());
    }
    match &config.server {
        ServerConfig::Sentinel { service_name, .. } if service_name.is_empty() => {
            Err("sentinelServiceName is empty".into())
        }
        _ => Ok(()),
    }
}

/// What is wrong with a URL, in words.
fn url_error(error: &Error) -> &str {
    match error.details() {
        "EmptyHost" => "it names no host",
        "InvalidPort" | "Invalid integer string." => "a port is a number up to 65535",
        "InvalidDomainCharacter" | "IdnaError" | "InvalidIpv4Address" | "InvalidIpv6Address" => "its host is none",
        other if other.contains(' ') => other,
        _ => "it cannot be read",
    }
}

/// Whether a URL is of Redis over TLS.
pub(crate) fn is_over_tls(url: &str) -> bool {
    ["rediss", "valkeys"].iter().any(|scheme| url.starts_with(scheme))
}

/// The servers that a URL names, for people: without users and passwords.
pub(crate) fn servers(url: &str) -> String {
    let hosts = Config::from_url(url).map(|config| config.server.hosts()).unwrap_or_default();
    let mut hosts: Vec<_> = hosts.iter().map(|server| format!("{}:{}", server.host, server.port)).collect();
    hosts.sort_unstable();
    hosts.join(", ")
}

/// A user or a password as `HELLO` takes it. The client sends that as a line of text, which Redis splits at spaces and
/// takes quotes out of.
fn quoted(word: String) -> String {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"'\\".contains(&byte);
    if word.bytes().all(is_plain) {
        return word;
    }
    let one = |byte: u8| if is_plain(byte) { char::from(byte).to_string() } else { format!("\\x{byte:02x}") };
    format!("\"{}\"", word.bytes().map(one).collect::<String>())
}

/// Connects. The messages come in the order in which Redis sends them.
pub(crate) async fn connect(url: &str) -> Result<(Box<dyn Redis>, Box<dyn Messages>), RedisError> {
    let mut config = Config::from_url(url)?;
    config.version = RespVersion::RESP3;
    config.username = config.username.map(quoted);
    config.password = config.password.map(quoted);
    let servers = servers(url);
    let client = Builder::from_config(config)
        .with_performance_config(|performance| {
            performance.default_command_timeout = PATIENCE;
            performance.broadcast_channel_capacity = INBOX;
        })
        .with_connection_config(|connection| {
            connection.connection_timeout = PATIENCE;
            connection.internal_command_timeout = PATIENCE;
            connection.max_command_attempts = 1;
            connection.tcp.nodelay = Some(true);
        })
        .build()?;
    let client = Open(client);
    // Asked before: who is not the primary any more when this is connected is found out.
    let sentinel = Sentinel::ask(&client.client_config()).await;
    let (inbox, errors) = (Inbox(client.message_rx()), client.error_rx());
    let life = timeout(2 * PATIENCE, client.init()).await.map_err(|_| RedisError::from("it does not answer"))??;
    let routes = client.cached_cluster_state().map(|state| state.pretty());
    Ok((Box::new(Fred { client, servers, routes, sentinel, ends: Mutex::new(Ends { life, errors }) }), Box::new(inbox)))
}

/// A client that is quit when it is dropped: it would stay connected, and subscribed.
pub(super) struct Open<C: ClientLike + 'static>(pub(super) C);

impl<C: ClientLike + 'static> Deref for Open<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.0
    }
}

impl<C: ClientLike + 'static> Drop for Open<C> {
    fn drop(&mut self) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let client = self.0.clone();
            runtime.spawn(async move { client.quit().await });
        }
    }
}

struct Fred {
    client: Open<Client>,
    /// The servers that the URL names, for people.
    servers: String,
    /// Which server of a Redis Cluster has which slots.
    routes: Option<Routes>,
    /// Who names the primary, where it is a sentinel.
    sentinel: Option<Sentinel>,
    ends: Mutex<Ends>,
}

type Routes = BTreeMap<Server, (Vec<(u16, u16)>, BTreeSet<Server>)>;

/// What tells that a connection broke.
struct Ends {
    life: ConnectHandle,
    errors: Receiver<(Error, Option<Server>)>,
}

struct Inbox(Receiver<Message>);

impl Fred {
    /// Waits until Redis has done what was sent before: subscribing is not answered by itself.
    async fn settle(&self) -> FredResult<()> {
        // In a Redis Cluster: by the server that subscriptions are sent to.
        let slot = redis_keyslot(self.client.id().as_bytes());
        let options = Options { cluster_hash: Some(ClusterHash::Custom(slot)), ..Options::default() };
        self.client.with_options(&options).ping::<Value>(None).await.map(drop)
    }

    fn error(&self, error: Error) -> RedisError {
        RedisError::from(error).at(&self.servers)
    }

    async fn count(&self, channel: &str, sharded: bool) -> FredResult<usize> {
        let of = |counts: HashMap<String, usize>| counts.get(channel).copied().unwrap_or(0);
        if sharded {
            return Ok(of(self.client.pubsub_shardnumsub(channel).await?));
        }
        let servers = self.servers();
        if servers.is_empty() {
            return Ok(of(self.client.pubsub_numsub(channel).await?));
        }
        let mut sum = 0;
        for server in servers {
            sum += of(self.client.with_cluster_node(server).pubsub_numsub(channel).await?);
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

    /// The servers of a Redis Cluster; empty for a single one.
    fn servers(&self) -> Vec<Server> {
        self.client.cached_cluster_state().map(|state| state.unique_primary_nodes()).unwrap_or_default()
    }
}

#[async_trait]
impl Redis for Fred {
    async fn subscribe(&self, to: &[Subscription]) -> Result<(), RedisError> {
        let sorted = Sorted::new(to);
        for channels in sorted.channels.chunks(AT_ONCE) {
            self.client.subscribe(channels.to_vec()).await?;
        }
        for patterns in sorted.patterns.chunks(AT_ONCE) {
            self.client.psubscribe(patterns.to_vec()).await?;
        }
        for shard in sorted.shards {
            self.client.ssubscribe(shard).await?;
        }
        Ok(self.settle().await?)
    }

    async fn unsubscribe(&self, from: &[Subscription]) -> Result<(), RedisError> {
        let sorted = Sorted::new(from);
        for channels in sorted.channels.chunks(AT_ONCE) {
            self.client.unsubscribe(channels.to_vec()).await?;
        }
        for patterns in sorted.patterns.chunks(AT_ONCE) {
            self.client.punsubscribe(patterns.to_vec()).await?;
        }
        for shard in sorted.shards {
            self.client.sunsubscribe(shard).await?;
        }
        Ok(())
    }

    async fn publish(&self, publications: &[Publication]) -> Vec<Result<(), RedisError>> {
        let pipeline = self.client.pipeline();
        for Publication { channel, body, sharded } in publications {
            // Only queues it.
            let queued: FredResult<()> = match sharded {
                false => pipeline.publish(channel.as_str(), Value::Bytes(body.clone())).await,
                true => pipeline.spublish(channel.as_str(), Value::Bytes(body.clone())).await,
            };
            debug_assert!(queued.is_ok());
        }
        let mut outcomes: Vec<_> =
            pipeline.try_all::<Value>().await.into_iter().map(|r| r.map(drop).map_err(|e| self.error(e))).collect();
        // One error stands for all.
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
            timeout(PATIENCE, self.client.sync_cluster())
                .await
                .map_err(|_| RedisError::from("the cluster does not answer"))??;
            if self.client.cached_cluster_state().map(|state| state.pretty()) != self.routes {
                return Err("slots of the cluster have moved".into());
            }
        }
        match &self.sentinel {
            Some(sentinel) if sentinel.names_another().await => Err("the sentinel names another primary".into()),
            _ => Ok(()),
        }
    }

    async fn broken(&self) -> RedisError {
        let Ends { life, errors } = &mut *self.ends.lock().await;
        tokio::select! {
            error = errors.recv() => match error {
                Ok((error, _)) => error.into(),
                Err(_) => "the connection ended".into(),
            },
            ended = life => match ended {
                Ok(Err(error)) => error.into(),
                _ => "the connection ended".into(),
            },
        }
    }

    async fn close(&self) {
        let _ = timeout(PATIENCE, self.client.quit()).await;
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

fn incoming(Message { channel, value, .. }: Message) -> Option<Incoming> {
    match value {
        Value::Bytes(body) => Some(Incoming::Message { channel, body }),
        Value::String(text) => Some(Incoming::Message { channel, body: text.into_inner() }),
        // Redis has no other messages.
        _ => None,
    }
}

/// Subscriptions by the command that each needs.
struct Sorted<'a> {
    channels: Vec<&'a str>,
    patterns: Vec<&'a str>,
    shards: Vec<&'a str>,
}

impl<'a> Sorted<'a> {
    fn new(all: &'a [Subscription]) -> Self {
        let mut sorted = Self { channels: Vec::new(), patterns: Vec::new(), shards: Vec::new() };
        for subscription in all {
            match subscription {
                Subscription::Channel(name) => sorted.channels.push(name),
                Subscription::Pattern(glob) => sorted.patterns.push(glob),
                Subscription::Shard(name) => sorted.shards.push(name),
            }
        }
        sorted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_with_spaces_or_quotes_is_one_word() {
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
