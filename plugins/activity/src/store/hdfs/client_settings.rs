//! `[plugins.activity.hdfs.client]`: settings of Hadoop's client, by the names that they have in `hdfs-site.xml`.

use super::super::HdfsLocation;
use greyhound_sdk::config::Problems;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;

/// What makes faults come to light in seconds and writing go on without a lost DataNode. They hold also over
/// `hdfs-site.xml`, whose values are made for Hadoop's own client: that one waits and tries again inside a call,
/// the sink outside of it.
const OURS: &[(&str, &str)] = &[
    ("dfs.client.socket-timeout", "5000"),
    ("dfs.client.failover.max.attempts", "4"),
    ("dfs.client.failover.sleep.base.millis", "200"),
    ("dfs.client.failover.sleep.max.millis", "2000"),
    ("dfs.client.block.write.replace-datanode-on-failure.best-effort", "true"),
];

/// How HDFS knows who we are: "simple" or "kerberos".
const AUTHENTICATION: &str = "hadoop.security.authentication";

/// The settings that the client reads; the rest of Hadoop's it ignores without a word.
const KNOWN: &[&str] = &[
    "fs.defaultFS",
    AUTHENTICATION,
    "dfs.data.transfer.protection",
    "dfs.client.socket-timeout",
    "dfs.client.use.datanode.hostname",
    "dfs.client.failover.max.attempts",
    "dfs.client.failover.sleep.base.millis",
    "dfs.client.failover.sleep.max.millis",
    "dfs.client.block.write.replace-datanode-on-failure.enable",
    "dfs.client.block.write.replace-datanode-on-failure.policy",
    "dfs.client.block.write.replace-datanode-on-failure.best-effort",
];

/// ... and those that go on with the name of a nameservice.
const KNOWN_OF_A_NAMESERVICE: &[&str] = &[
    "dfs.ha.namenodes.",
    "dfs.namenode.rpc-address.",
    "dfs.client.failover.proxy.provider.",
    "dfs.client.failover.random.order.",
    "dfs.client.failover.resolve-needed.",
    "dfs.client.failover.resolver.useFQDN.",
];

/// Settings of Hadoop's client.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(from = "BTreeMap<String, Setting>")]
pub struct ClientSettings(BTreeMap<String, String>);

/// A value as TOML has it: without quotes, `dfs.client.socket-timeout = 5000` is a number in a table in a table.
#[derive(Deserialize)]
#[serde(untagged)]
enum Setting {
    Text(String),
    Number(i64),
    Switch(bool),
    Below(BTreeMap<String, Setting>),
}

impl ClientSettings {
    /// Whether it is said here that HDFS does not use Kerberos.
    pub(super) fn is_simple(&self) -> bool {
        self.0.get(AUTHENTICATION).is_some_and(|method| method == "simple")
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        let known = |name: &str| KNOWN.contains(&name) || KNOWN_OF_A_NAMESERVICE.iter().any(|prefix| name.starts_with(prefix));
        for name in self.0.keys().filter(|name| !known(name)) {
            problems.report(
                &format!("hdfs.client.{name}"),
                format!(
                    "the client does not read it: leave it out. It reads {} and, with a nameservice at their end, {}",
                    KNOWN.join(", "),
                    KNOWN_OF_A_NAMESERVICE.join(", ")
                ),
            );
        }
    }

    /// All that the client is to be told, over what it reads from Hadoop's files: ours, those set here, Kerberos where
    /// there is a principal, and for a client that follows one that had no answer, a random order of NameNodes: it must
    /// not begin at the same one.
    pub(super) fn effective(&self, location: &HdfsLocation, kerberos: bool, is_first: bool) -> BTreeMap<String, String> {
        let mut all: BTreeMap<String, String> = OURS.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        if kerberos {
            all.insert(AUTHENTICATION.into(), "kerberos".into());
        }
        if let Some(nameservice) = location.nameservice().filter(|_| !is_first) {
            all.insert(format!("dfs.client.failover.random.order.{nameservice}"), "true".into());
        }
        all.extend(self.0.clone());
        all
    }
}

impl From<BTreeMap<String, Setting>> for ClientSettings {
    fn from(settings: BTreeMap<String, Setting>) -> Self {
        let mut flat = BTreeMap::new();
        flatten("", settings, &mut flat);
        Self(flat)
    }
}

fn flatten(prefix: &str, settings: BTreeMap<String, Setting>, flat: &mut BTreeMap<String, String>) {
    for (name, setting) in settings {
        let name = format!("{prefix}{name}");
        match setting {
            Setting::Below(more) => flatten(&format!("{name}."), more, flat),
            value => {
                flat.insert(name, value.to_string());
            }
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => text.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Switch(switch) => switch.fmt(f),
            Self::Below(_) => f.write_str("a table"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Location;
    use serde_json::json;

    fn settings(value: serde_json::Value) -> ClientSettings {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn names_may_be_quoted_or_not_and_values_numbers() {
        let tables = json!({"dfs": {"client": {"socket-timeout": 9000, "use": {"datanode": {"hostname": true}}}}});
        let quoted = json!({"dfs.client.socket-timeout": "9000", "dfs.client.use.datanode.hostname": "true"});
        assert_eq!(settings(tables), settings(quoted));
    }

    #[test]
    fn what_the_client_would_ignore_is_refused() {
        let mut problems = Problems::below("plugins.activity");
        settings(json!({"dfs.replication": 2, "dfs.ha.namenodes.prod": "a,b", "dfs.client.socket-timeout": 1})).check(&mut problems);
        let problems = problems.into_list();
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].key, "plugins.activity.hdfs.client.dfs.replication");
        assert!(problems[0].message.contains("leave it out"));
    }

    #[test]
    fn what_is_set_goes_over_ours() {
        let Ok(Location::Hdfs(location)) = "hdfs://prod/x".parse() else { panic!("a location of HDFS") };
        let set = settings(json!({"dfs.client.socket-timeout": 1}));
        let effective = set.effective(&location, false, true);
        assert_eq!(effective["dfs.client.socket-timeout"], "1");
        assert_eq!(effective["dfs.client.failover.max.attempts"], "4");
        assert!(!effective.contains_key("dfs.client.failover.random.order.prod"));
        assert!(!effective.contains_key(AUTHENTICATION));
        let later = set.effective(&location, true, false);
        assert_eq!(later["dfs.client.failover.random.order.prod"], "true");
        assert_eq!(later[AUTHENTICATION], "kerberos");
    }
}
