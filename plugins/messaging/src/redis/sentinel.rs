//! Asks sentinels for the primary.
//!
//! After a planned failover, the old primary accepts publications and subscriptions for about ten more seconds, but the
//! other nodes no longer receive them.

use super::open::Open;
use fred::clients::SentinelClient;
use fred::interfaces::{ClientLike, SentinelInterface};
use fred::prelude::{Builder, Config, ReconnectPolicy, ServerConfig};
use std::time::Duration;
use tokio::time::timeout;

/// How long a sentinel may take to answer. They are asked every second.
const SENTINEL_TIMEOUT: Duration = Duration::from_millis(500);
/// How long to wait before reconnecting to a sentinel.
const RECONNECT_DELAY_MS: u32 = 1000;

/// The reachable sentinels, and the primary that they named at first.
pub(super) struct Sentinel {
    clients: Vec<Open<SentinelClient>>,
    service: String,
    primary: Primary,
}

type Primary = (String, u16);

impl Sentinel {
    /// Asks the sentinels for the primary. Returns `None` if there are no sentinels or none answers.
    pub(super) async fn ask(config: &Config) -> Option<Self> {
        let ServerConfig::Sentinel { hosts, service_name, username, password } = &config.server else { return None };
        let mut clients = Vec::new();
        for host in hosts {
            let built = Builder::default_centralized()
                .with_sentinel_config(|sentinel| {
                    sentinel.host = host.host.to_string();
                    sentinel.port = host.port;
                    sentinel.username = username.clone();
                    sentinel.password = password.clone();
                    sentinel.tls = config.tls.clone();
                })
                .with_performance_config(|performance| performance.default_command_timeout = SENTINEL_TIMEOUT)
                .set_policy(ReconnectPolicy::new_constant(0, RECONNECT_DELAY_MS))
                .build_sentinel_client();
            let Ok(client) = built.map(Open) else { continue };
            if let Ok(Ok(_)) = timeout(2 * SENTINEL_TIMEOUT, client.init()).await {
                clients.push(client);
            }
        }
        let primary = primary(&clients, service_name).await?;
        Some(Self { clients, service: service_name.clone(), primary })
    }

    /// Whether the sentinels now name another primary.
    pub(super) async fn names_another(&self) -> bool {
        primary(&self.clients, &self.service).await.is_some_and(|primary| primary != self.primary)
    }
}

/// The primary according to the first sentinel that answers.
async fn primary(clients: &[Open<SentinelClient>], service: &str) -> Option<Primary> {
    for client in clients {
        if let Ok(primary) = client.get_master_addr_by_name(service).await {
            return Some(primary);
        }
    }
    None
}
