//! `[plugins.messaging]`.

mod listener;

pub use crate::auth::AuthConfig;
use crate::auth::{RoomPattern, Sites, normal_origin};
pub use crate::authorization::{AuthorizationConfig, OnFailure};
pub use crate::limits::LimitsConfig;
pub use crate::proxies::ForwardedHeader;
use crate::proxies::network;
use crate::redis::is_over_tls;
use crate::revocation;
use greyhound_sdk::config::{ByteSize, Problems, duration};
use greyhound_sdk::paths;
pub use listener::{ListenAddress, ListenerConfig, TlsConfig};
use serde::Deserialize;
use std::iter;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The gateway's configuration.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The address that clients connect to.
    pub listen: ListenAddress,
    /// Whether each connection to `listen` begins with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// The certificate with which `listen` speaks TLS.
    pub tls: TlsConfig,
    /// Further listeners.
    pub listeners: Vec<ListenerConfig>,
    /// The path of socket.io.
    pub path: String,
    /// The socket.io namespaces that clients may connect to.
    pub namespaces: Vec<String>,
    /// How often a client is pinged.
    #[serde(with = "duration")]
    pub ping_interval: Duration,
    /// How long a client may take to answer a ping.
    #[serde(with = "duration")]
    pub ping_timeout: Duration,
    /// The largest packet that a client may send.
    pub max_payload: ByteSize,
    /// How many packets may wait for one client. Further packets to it are dropped.
    pub buffer: usize,
    /// A connection that accepts no data for this long is closed.
    #[serde(with = "duration")]
    pub write_timeout: Duration,
    /// Over how long the clients are let go at shutdown.
    #[serde(with = "duration")]
    pub drain_spread: Duration,
    /// The origins whose pages and apps may connect. An empty list allows all.
    pub allowed_origins: Vec<String>,
    /// The proxies that may report the addresses of clients: networks and addresses.
    pub trusted_proxies: Vec<String>,
    /// The header in which they report them.
    pub forwarded_header: ForwardedHeader,
    /// The socket.io client bundle to serve at `/socket.io/socket.io.js`.
    pub client_bundle: Option<PathBuf>,
    /// Whether to serve the demo page at `/`.
    pub demo: Demo,
    /// The base domains that have a room, or `*.` and a public suffix for all base domains below it. An empty list means all.
    pub sites: Vec<String>,
    /// The rooms, as names or patterns, that every authenticated client may join and leave by itself.
    pub joinable_rooms: Vec<String>,
    /// A socket that is in this many rooms cannot join more by itself.
    pub max_rooms: usize,
    /// Whether to record each delivery as a row.
    pub record_deliveries: bool,
    /// Whether a message's row contains its arguments.
    pub record_message_data: bool,
    /// Whether a push's row contains its arguments.
    pub record_push_data: bool,
    /// How clients authenticate.
    pub auth: AuthConfig,
    /// Limits on what clients may use.
    pub limits: LimitsConfig,
    /// The endpoint that is asked what no claim says.
    pub authorization: AuthorizationConfig,
    /// The cluster that this node joins.
    pub redis: RedisConfig,
}

/// `[plugins.messaging.redis]`.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisConfig {
    /// The URL of Redis, Redis Cluster or Sentinel. Without one, this node runs on its own.
    pub url: Option<String>,
    /// The prefix of the cluster's channels.
    pub prefix: String,
    /// The protocol of the cluster.
    pub mode: Mode,
    /// How this node receives messages to a room. The default depends on the mode.
    pub subscription: Option<SubscriptionMode>,
}

/// The protocol of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Pub/sub, as used by `createAdapter` of `@socket.io/redis-adapter`, socket.io-redis and every emitter.
    Classic,
    /// Sharded pub/sub of Redis 7, as used by `createShardedAdapter`.
    Sharded,
}

/// How a node receives messages to a room. All members of a sharded cluster must use the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SubscriptionMode {
    /// Classic: it receives all messages of a namespace, even those to rooms without members here.
    Pattern,
    /// Classic: it receives only messages to a room with members here, to several rooms, or to everybody.
    Rooms,
    /// Sharded: it receives all messages.
    Static,
    /// Sharded: messages to one room have their own channel, except those to one socket.
    Dynamic,
    /// Sharded: as `Dynamic`, and messages to one socket have their own channel too.
    DynamicPrivate,
}

/// Whether to serve the demo page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Demo {
    /// Only if the gateway listens on loopback and no keys are configured.
    Auto,
    /// Yes, to loopback only.
    On,
    /// No.
    Off,
}

impl SubscriptionMode {
    /// Whether rooms have their own subscriptions.
    pub(crate) fn subscribes_rooms(self) -> bool {
        !matches!(self, Self::Pattern | Self::Static)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 3000))),
            proxy_protocol: false,
            tls: TlsConfig::default(),
            listeners: Vec::new(),
            path: "/socket.io".into(),
            namespaces: vec!["/".into()],
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            max_payload: ByteSize::mb(1),
            buffer: 1024,
            write_timeout: Duration::from_secs(10),
            drain_spread: Duration::ZERO,
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::XForwardedFor,
            client_bundle: None,
            demo: Demo::Auto,
            sites: Vec::new(),
            joinable_rooms: Vec::new(),
            max_rooms: 100,
            record_deliveries: true,
            record_message_data: false,
            record_push_data: true,
            auth: AuthConfig::default(),
            limits: LimitsConfig::default(),
            authorization: AuthorizationConfig::default(),
            redis: RedisConfig::default(),
        }
    }
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self { url: None, prefix: "socket.io".into(), mode: Mode::Classic, subscription: None }
    }
}

impl std::fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL may contain a password.
        f.debug_struct("RedisConfig")
            .field("url", &self.url.as_ref().map(|_| "(hidden)"))
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl RedisConfig {
    /// How this node receives messages to a room.
    pub(crate) fn subscription_mode(&self) -> SubscriptionMode {
        self.subscription.unwrap_or(match self.mode {
            Mode::Classic => SubscriptionMode::Pattern,
            Mode::Sharded => SubscriptionMode::Dynamic,
        })
    }

    fn check(&self, problems: &mut Problems) {
        if let Some(why) = self.url.as_ref().and_then(|url| crate::redis::check_url(url).err()) {
            let expected = "expected something like \"redis://host:6379\", \"rediss://user:password@host\", \"redis-cluster://host?node=other:6379\" \
                            or \"redis-sentinel://host:26379?sentinelServiceName=name\"";
            problems.report("redis.url", format!("is not a Redis URL ({why}): {expected}"));
        }
        if self.prefix.is_empty() || self.prefix.contains('#') {
            problems.report("redis.prefix", "expected a name without #, for example \"socket.io\"");
        }
        let fits = match self.mode {
            Mode::Classic => matches!(self.subscription_mode(), SubscriptionMode::Pattern | SubscriptionMode::Rooms),
            Mode::Sharded => matches!(
                self.subscription_mode(),
                SubscriptionMode::Static | SubscriptionMode::Dynamic | SubscriptionMode::DynamicPrivate
            ),
        };
        if !fits {
            let expected = "\"pattern\" or \"rooms\" with mode = \"classic\"; \"static\", \"dynamic\" or \"dynamic-private\" with mode = \"sharded\"";
            problems.report("redis.subscription", format!("does not fit redis.mode: expected {expected}"));
        }
    }
}

impl Config {
    pub(crate) fn check(&self, problems: &mut Problems) {
        if !self.namespaces.iter().any(|n| n == "/") {
            problems.report("namespaces", "\"/\" is missing: every client connects to it");
        }
        for bad in self.namespaces.iter().filter(|n| !n.starts_with('/') || n.contains([',', '?'])) {
            problems.report(
                "namespaces",
                format!("`{bad}` is not a namespace: expected a name that begins with / and contains no , or ?"),
            );
        }
        if let Some((_, twice)) =
            self.namespaces.iter().enumerate().find(|(at, name)| self.namespaces[..*at].contains(name))
        {
            problems.report("namespaces", format!("`{twice}` is listed twice: list each namespace once"));
        }
        for (origin, why) in
            self.allowed_origins.iter().filter_map(|origin| Some((origin, normal_origin(origin).err()?)))
        {
            problems.report("allowed_origins", format!("`{origin}` is not an origin: {why}"));
        }
        for (prefix, listener) in self.all_listeners() {
            listener.check(&prefix, !self.trusted_proxies.is_empty(), problems);
        }
        if !is_path(self.socket_io_path()) {
            problems.report("path", "expected a path such as \"/socket.io\": letters, digits and -._~ between slashes");
        }
        for bad in self.trusted_proxies.iter().filter(|text| network(text).is_none()) {
            problems.report(
                "trusted_proxies",
                format!("`{bad}` is not a network: expected something like \"10.0.0.0/8\" or \"10.0.0.1\""),
            );
        }
        let durations = [
            ("ping_interval", self.ping_interval),
            ("ping_timeout", self.ping_timeout),
            ("write_timeout", self.write_timeout),
            ("auth.timeout", self.auth.timeout),
        ];
        for (key, _) in durations.into_iter().filter(|(_, value)| *value < Duration::from_millis(100)) {
            problems.report(key, "is too short: expected at least \"100ms\"");
        }
        if !(ByteSize::kb(1)..=ByteSize::gb(1)).contains(&self.max_payload) {
            problems.report("max_payload", "expected \"1kB\" to \"1GB\"");
        }
        if !(1..=65_536).contains(&self.buffer) {
            problems.report("buffer", "expected 1 to 65536 packets");
        }
        self.check_rooms(problems);
        self.auth.check(problems);
        self.limits.check(problems);
        if self.demo == Demo::On && !self.auth.can_sign() {
            problems.report(
                "demo",
                "\"on\" needs a secret, because the page signs tokens, but only public keys are configured",
            );
        }
        self.authorization.check(self.auth.timeout, problems);
        self.redis.check(problems);
    }

    fn check_rooms(&self, problems: &mut Problems) {
        for (site, why) in self.sites.iter().filter_map(|site| Some((site, Sites::check(site).err()?))) {
            problems.report("sites", format!("`{site}` is not a base domain: {why}"));
        }
        for (pattern, why) in
            self.joinable_rooms.iter().filter_map(|text| Some((text, RoomPattern::parse(text).err()?)))
        {
            problems.report("joinable_rooms", format!("`{pattern}` is not a name or pattern of rooms: {why}"));
        }
        if !(1..=65_536).contains(&self.max_rooms) {
            problems.report("max_rooms", "expected 1 to 65536 rooms");
        }
    }

    /// Checks the configured files.
    pub(crate) fn look(&self, data_dir: &Path, problems: &mut Problems) {
        self.auth.look(data_dir, problems);
        for (prefix, listener) in self.all_listeners() {
            listener.look(&prefix, problems);
        }
        if let Err(why) = revocation::look(data_dir) {
            problems.report("auth", why);
        }
        self.authorization.look(problems);
        if let Some(Err(e)) = self.client_bundle.as_deref().map(paths::check_file) {
            problems.report("client_bundle", format!("{e}: name a socket.io.min.js, or leave it out"));
        }
        let over_tls = [
            ("redis.url", self.redis.url.as_ref().is_some_and(|url| is_over_tls(url))),
            ("auth", self.auth.is_over_tls()),
        ];
        let authorities = std::env::var_os("SSL_CERT_FILE").map(|path| paths::check_file(Path::new(&path)));
        if let (Some((key, _)), Some(Err(e))) = (over_tls.into_iter().find(|(_, is_used)| *is_used), authorities) {
            problems
                .report(key, format!("SSL_CERT_FILE: {e}: name a file with the certificates to trust, or unset it"));
        }
    }

    /// The listener that `listen` describes.
    pub(crate) fn first_listener(&self) -> ListenerConfig {
        let (listen, tls) = (self.listen.clone(), self.tls.clone());
        ListenerConfig { listen, proxy_protocol: self.proxy_protocol, tls }
    }

    /// All listeners, with what their keys begin with.
    pub(crate) fn all_listeners(&self) -> impl Iterator<Item = (String, ListenerConfig)> {
        let others = self.listeners.iter().enumerate().map(|(at, it)| (format!("listeners[{at}]."), it.clone()));
        iter::once((String::new(), self.first_listener())).chain(others)
    }

    /// The path of socket.io, without a slash at its end.
    pub(crate) fn socket_io_path(&self) -> &str {
        self.path.trim_end_matches('/')
    }

    pub(crate) fn has_demo(&self) -> bool {
        match self.demo {
            // Configured keys may mean production, with a proxy on this machine in front.
            Demo::Auto => {
                self.all_listeners().all(|(_, listener)| listener.is_on_loopback()) && self.auth.is_for_development()
            }
            Demo::On => true,
            Demo::Off => false,
        }
    }
}

/// Whether it can be a path of socket.io: one or more names, each after a slash.
fn is_path(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    path.strip_prefix('/').is_some_and(|names| names.split('/').all(|name| !name.is_empty() && name.bytes().all(plain)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(redis: RedisConfig) -> Vec<String> {
        let mut problems = Problems::default();
        Config { redis, ..Config::default() }.check(&mut problems);
        problems.into_list().into_iter().map(|problem| format!("{}: {}", problem.key, problem.message)).collect()
    }

    #[test]
    fn urls_of_every_kind_of_redis_are_accepted_and_others_refused() {
        let url = |url: &str| problems(RedisConfig { url: Some(url.into()), ..RedisConfig::default() });
        for good in [
            "redis://127.0.0.1:6379",
            "rediss://user:pass%23word@host",
            "redis-cluster://a:1?node=b:2&node=c:3",
            "redis-sentinel://a:1?node=b:2&sentinelServiceName=x",
        ] {
            assert_eq!(url(good), Vec::<String>::new(), "{good}");
        }
        for bad in [
            "",
            "host:6379",
            "http://x",
            "redis://host:0",
            "redis://host:port",
            "redis-sentinel://a:1",
            "redis-sentinel://a:1?sentinelServiceName=",
            "redis://user:p@ss@host",
            "redis://user:p@ss#x@host",
        ] {
            let problems = url(bad);
            assert!(
                problems.len() == 1 && problems[0].starts_with("redis.url: is not a Redis URL"),
                "{bad}: {problems:?}"
            );
        }
        assert!(!url("redis://user:secret#@host")[0].contains("secret"));
    }

    #[test]
    fn a_site_is_a_base_domain() {
        let mut problems = Problems::default();
        Config {
            sites: ["example.com", "tenant-7", "https://shop.example.co.uk/x"].map(str::to_owned).to_vec(),
            ..Config::default()
        }
        .check(&mut problems);
        let messages: Vec<_> = problems.into_list().into_iter().map(|problem| problem.message).collect();
        assert_eq!(
            messages,
            [
                "`https://shop.example.co.uk/x` is not a base domain: it is not only a host: expected something like \"example.co.uk\""
            ]
        );
    }

    #[test]
    fn a_subscription_must_fit_the_mode() {
        let with = |mode, subscription| problems(RedisConfig { mode, subscription, ..RedisConfig::default() }).len();
        assert_eq!(
            (
                with(Mode::Classic, None),
                with(Mode::Classic, Some(SubscriptionMode::Rooms)),
                with(Mode::Sharded, Some(SubscriptionMode::Static))
            ),
            (0, 0, 0)
        );
        assert_eq!(
            (
                with(Mode::Classic, Some(SubscriptionMode::Dynamic)),
                with(Mode::Sharded, Some(SubscriptionMode::Pattern))
            ),
            (1, 1)
        );
    }
}
