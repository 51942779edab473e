//! Sentinels: who is the primary?
//!
//! After a planned failover the old primary takes publications and subscriptions for about ten seconds more, which nobody
//! else hears of.

use super::client::PATIENCE;
use fred::clients::SentinelClient;
use fred::interfaces::{ClientLike, SentinelInterface};
use fred::prelude::{Builder, Config, ServerConfig};
use std::time::Duration;
use tokio::time::timeout;

/// How long a sentinel may take: it is asked every second.
const MOMENT: Duration = Duration::from_millis(500);

/// A sentinel, and whom it named at first.
pub(super) struct Sentinel {
    client: SentinelClient,
    service: String,
    primary: Primary,
}

type Primary = (String, u16);

impl Sentinel {
    /// Asks the first sentinel that answers. None where there is none.
    pub(super) async fn ask(config: &Config) -> Option<Self> {
        let ServerConfig::Sentinel { hosts, service_name, username, password } = &config.server else { return None };
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
                .build_sentinel_client();
            let Ok(client) = built else { continue };
            if let Ok(Ok(_)) = timeout(PATIENCE, client.init()).await
                && let Ok(primary) = client.get_master_addr_by_name::<Primary, _>(service_name.as_str()).await
            {
                return Some(Self { client, service: service_name.clone(), primary });
            }
        }
        None
    }

    /// Whether it names another primary than at first. One that does not answer names none.
    pub(super) async fn names_another(&self) -> bool {
        let named = self.client.get_master_addr_by_name::<Primary, _>(self.service.as_str()).await;
        named.is_ok_and(|primary| primary != self.primary)
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let client = self.client.clone();
            runtime.spawn(async move { client.quit().await });
        }
    }
}
