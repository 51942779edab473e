//! `[plugins.messaging.redis]`.

use greyhound_sdk::config::Problems;
use serde::Deserialize;
use std::fmt;

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

impl SubscriptionMode {
    /// Whether rooms have their own subscriptions.
    pub(crate) fn subscribes_rooms(self) -> bool {
        !matches!(self, Self::Pattern | Self::Static)
    }
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self { url: None, prefix: "socket.io".into(), mode: Mode::Classic, subscription: None }
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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

    pub(super) fn check(&self, problems: &mut Problems) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(redis: &RedisConfig) -> Vec<String> {
        let mut problems = Problems::default();
        redis.check(&mut problems);
        problems.into_list().into_iter().map(|problem| format!("{}: {}", problem.key, problem.message)).collect()
    }

    #[test]
    fn urls_of_every_kind_of_redis_are_accepted_and_others_refused() {
        let url = |url: &str| problems(&RedisConfig { url: Some(url.into()), ..RedisConfig::default() });
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
    fn a_subscription_must_fit_the_mode() {
        let with = |mode, subscription| problems(&RedisConfig { mode, subscription, ..RedisConfig::default() }).len();
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
