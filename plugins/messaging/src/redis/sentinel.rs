//! Sentinels: who is the primary?
//!
//! After a planned failover the old primary takes publications and subscriptions for about ten seconds more, which
//! nobody else hears of.

use super::client::Open;
use fred::clients::SentinelClient;
use fred::interfaces::{ClientLike, SentinelInterface};
use fred::prelude::{Builder, Config, ReconnectPolicy, ServerConfig};
use std::time::Duration;
use tokio::time::timeout;

/// How long a sentinel may take: they are asked every second.
const MOMENT: Duration = Duration::from_millis(500);
/// How long to wait before connecting to one again, in milliseconds.
const PAUSE: u32 = 1000;

/// The sentinels that could be reached, and whom they named at first.
pub(super) struct Sentinel {
    clients: Vec<Open<SentinelClient>>,
    service: String,
    primary: Primary,
}

type Primary = (String, u16);

impl Sentinel {
    /// Asks who is the primary. None where nobody answers, or there are none.
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
                .with_performance_config(|performance| performance.default_command_timeout = MOMENT)
                .set_policy(ReconnectPolicy::new_constant(0, PAUSE))
                .build_sentinel_client();
            let Ok(client) = built.map(Open) else { continue };
            if let Ok(Ok(_)) = timeout(2 * MOMENT, client.init()).await {
                clients.push(client);
            }
        }
        let primary = named(&clients, service_name).await?;
        Some(Self { clients, service: service_name.clone(), primary })
    }

    /// Whether another primary is named than at first.
    pub(super) async fn names_another(&self) -> bool {
        named(&self.clients, &self.service).await.is_some_and(|primary| primary != self.primary)
    }
}

/// Whom the first sentinel that answers names.
async fn named(clients: &[Open<SentinelClient>], service: &str) -> Option<Primary> {
    for client in clients {
        if let Ok(primary) = client.get_master_addr_by_name(service).await {
            return Some(primary);
        }
    }
    None
}
