//! `[plugins.messaging]`.

mod check;
mod listener;
mod redis;

pub use crate::auth::AuthConfig;
pub use crate::authorization::{AuthorizationConfig, OnFailure};
pub use crate::limits::LimitsConfig;
pub use crate::proxies::ForwardedHeader;
use greyhound_sdk::config::{ByteSize, duration};
pub use listener::{ListenAddress, ListenerConfig, TlsConfig};
pub use redis::{Mode, RedisConfig, SubscriptionMode};
use serde::Deserialize;
use std::iter;
use std::net::SocketAddr;
use std::path::PathBuf;
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

impl Config {
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
