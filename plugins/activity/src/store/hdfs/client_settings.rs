//! `[plugins.activity.hdfs.client]`: settings of Hadoop's client, by their names in `hdfs-site.xml`.

use super::super::HdfsLocation;
use greyhound_sdk::config::Problems;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;

/// These settings detect faults within seconds, and let writing continue without a lost DataNode. They override
/// `hdfs-site.xml`, whose values are meant for Hadoop's own client: that one waits and retries within a call, the sink
/// outside of it.
const DEFAULTS: &[(&str, &str)] = &[
    ("dfs.client.socket-timeout", "5000"),
    ("dfs.client.failover.max.attempts", "4"),
    ("dfs.client.failover.sleep.base.millis", "200"),
    ("dfs.client.failover.sleep.max.millis", "2000"),
    ("dfs.client.block.write.replace-datanode-on-failure.best-effort", "true"),
];

/// How HDFS authenticates clients: "simple" or "kerberos".
const AUTHENTICATION: &str = "hadoop.security.authentication";

/// The settings that the client reads, and their valid values. It silently replaces invalid values by its defaults, and
/// ignores all other settings of Hadoop. The name of a nameservice follows those that end in a dot.
const KNOWN: &[(&str, Values)] = &[
    ("fs.defaultFS", Values::Url),
    (AUTHENTICATION, Values::Words(&["simple", "kerberos"])),
    ("dfs.data.transfer.protection", Values::Protections),
    ("dfs.client.socket-timeout", Values::Number),
    ("dfs.client.use.datanode.hostname", SWITCH),
    ("dfs.client.failover.max.attempts", Values::Number),
    ("dfs.client.failover.sleep.base.millis", Values::Number),
    ("dfs.client.failover.sleep.max.millis", Values::Number),
    ("dfs.client.block.write.replace-datanode-on-failure.enable", SWITCH),
    ("dfs.client.block.write.replace-datanode-on-failure.policy", Values::AnyCase(&["NEVER", "DEFAULT", "ALWAYS"])),
    ("dfs.client.block.write.replace-datanode-on-failure.best-effort", SWITCH),
    ("dfs.ha.namenodes.", Values::Names),
    ("dfs.namenode.rpc-address.", Values::Address),
    (
        "dfs.client.failover.proxy.provider.",
        Values::Words(&[
            "org.apache.hadoop.hdfs.server.namenode.ha.ConfiguredFailoverProxyProvider",
            "org.apache.hadoop.hdfs.server.namenode.ha.ObserverReadProxyProvider",
            "org.apache.hadoop.hdfs.server.namenode.ha.RouterObserverReadConfiguredFailoverProxyProvider",
        ]),
    ),
    ("dfs.client.failover.random.order.", SWITCH),
    ("dfs.client.failover.resolve-needed.", SWITCH),
    ("dfs.client.failover.resolver.useFQDN.", SWITCH),
];
const SWITCH: Values = Values::AnyCase(&["true", "false"]);
const PROTECTIONS: &[&str] = &["authentication", "integrity", "privacy"];

/// The valid values of a setting.
#[derive(Debug, Clone, Copy)]
enum Values {
    Words(&'static [&'static str]),
    /// Words in upper or lower case.
    AnyCase(&'static [&'static str]),
    Protections,
    Number,
    Names,
    Address,
    Url,
}

/// Settings of Hadoop's client.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(from = "BTreeMap<String, Setting>")]
pub struct ClientSettings(BTreeMap<String, String>);

/// A value in TOML: without quotes, `dfs.client.socket-timeout = 5000` is a number in nested tables.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text, a whole number, true or false")]
enum Setting {
    Text(String),
    Number(i64),
    Switch(bool),
    Below(BTreeMap<String, Setting>),
}

impl ClientSettings {
    /// Whether these settings say that HDFS does not use Kerberos.
    pub(super) fn is_simple(&self) -> bool {
        self.0.get(AUTHENTICATION).is_some_and(|method| method == "simple")
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        for (name, value) in &self.0 {
            let wrong = match known(name) {
                None => {
                    let names: Vec<_> = KNOWN.iter().map(|(name, _)| *name).collect();
                    let names = names.join(", ");
                    format!(
                        "the client does not read it: leave it out. It reads {names} (a nameservice follows those that end in a dot)"
                    )
                }
                Some(values) if values.allow(value) => continue,
                Some(values) => format!("is `{value}`: expected {values}"),
            };
            problems.report(&format!("hdfs.client.{name}"), wrong);
        }
    }

    /// All settings that override Hadoop's files: Greyhound's, those set here, Kerberos if there is a principal, and
    /// for a client that replaces one without an answer, a random order of NameNodes, so that it does not begin with
    /// the same one.
    pub(super) fn effective(
        &self,
        location: &HdfsLocation,
        kerberos: bool,
        is_first: bool,
    ) -> BTreeMap<String, String> {
        let mut all: BTreeMap<String, String> =
            DEFAULTS.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
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

/// The valid values of a setting; `None` if the client does not read it.
fn known(name: &str) -> Option<Values> {
    let is = |known: &str| match known.ends_with('.') {
        true => name.len() > known.len() && name.starts_with(known),
        false => name == known,
    };
    KNOWN.iter().find(|(known, _)| is(known)).map(|(_, values)| *values)
}

// === impl Values ===

impl Values {
    /// At least as strict as the client, which does not trim spaces.
    fn allow(self, value: &str) -> bool {
        let is_name = |text: &str| !text.is_empty() && !text.contains(char::is_whitespace);
        match self {
            Self::Words(words) => words.contains(&value),
            Self::AnyCase(words) => words.iter().any(|word| word.eq_ignore_ascii_case(value)),
            Self::Protections => value.split(',').all(|one| PROTECTIONS.contains(&one)),
            Self::Number => value.parse::<u32>().is_ok(),
            Self::Names => value.split(',').all(is_name),
            Self::Address => value
                .rsplit_once(':')
                .is_some_and(|(host, port)| is_name(host) && port.parse::<u16>().is_ok_and(|it| it > 0)),
            Self::Url => value.strip_prefix("hdfs://").is_some_and(is_name),
        }
    }
}

impl fmt::Display for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Words(words) | Self::AnyCase(words) => write!(f, "one of: {}", words.join(", ")),
            Self::Protections => write!(f, "one of: {}; or several, with commas between them", PROTECTIONS.join(", ")),
            Self::Number => write!(f, "a whole number up to {}, without a unit (times are in milliseconds)", u32::MAX),
            Self::Names => f.write_str("names with commas between them, and no spaces, such as \"nn1,nn2\""),
            Self::Address => f.write_str("a host and a port, such as \"namenode.example.com:8020\""),
            Self::Url => f.write_str("a URL such as \"hdfs://nameservice\""),
        }
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

    fn problems(value: serde_json::Value) -> Vec<String> {
        let mut problems = Problems::below("plugins.activity");
        settings(value).check(&mut problems);
        problems.into_list().into_iter().map(|problem| format!("{}: {}", problem.key, problem.message)).collect()
    }

    #[test]
    fn what_the_client_would_ignore_is_refused() {
        for name in [
            "dfs.replication",
            "dfs.client.socket.timeout",
            "dfs.ha.namenodes",
            "dfs.ha.namenodes.",
            "hadoop.rpc.protection",
        ] {
            let said = problems(json!({name: "2", "dfs.client.socket-timeout": 1}));
            assert_eq!(said.len(), 1, "{said:?}");
            assert!(
                said[0].starts_with(&format!(
                    "plugins.activity.hdfs.client.{name}: the client does not read it: leave it out"
                )),
                "{said:?}"
            );
        }
    }

    #[test]
    fn values_that_the_client_would_take_for_its_default_are_refused() {
        let of_nameservice = json!({"dfs.ha.namenodes.prod": "nn1,nn2", "dfs.namenode.rpc-address.prod.nn1": "host:8020",
            "dfs.client.failover.random.order.prod": "TRUE", "dfs.data.transfer.protection": "authentication,privacy", "fs.defaultFS": "hdfs://prod",
            "dfs.client.failover.proxy.provider.prod": "org.apache.hadoop.hdfs.server.namenode.ha.ObserverReadProxyProvider"});
        assert_eq!(problems(of_nameservice), Vec::<String>::new());
        for (name, value, expected) in [
            ("dfs.client.socket-timeout", json!("5s"), "a whole number up to"),
            ("dfs.client.socket-timeout", json!(-1), "a whole number up to"),
            ("dfs.client.failover.max.attempts", json!(4_294_967_296_u64), "a whole number up to 4294967295"),
            ("dfs.client.failover.sleep.base.millis", json!(" 200"), "a whole number"),
            ("dfs.client.use.datanode.hostname", json!("yes"), "one of: true, false"),
            (
                "dfs.client.block.write.replace-datanode-on-failure.policy",
                json!("SOMETIMES"),
                "one of: NEVER, DEFAULT, ALWAYS",
            ),
            ("dfs.client.failover.random.order.prod", json!("ture"), "one of: true, false"),
            ("dfs.client.failover.proxy.provider.prod", json!("com.example.Provider"), "one of: org.apache.hadoop"),
            ("hadoop.security.authentication", json!("Kerberos"), "one of: simple, kerberos"),
            ("dfs.data.transfer.protection", json!("private"), "one of: authentication, integrity, privacy"),
            ("dfs.ha.namenodes.prod", json!("nn1, nn2"), "names with commas"),
            ("dfs.namenode.rpc-address.prod.nn1", json!("host"), "a host and a port"),
            ("fs.defaultFS", json!("prod"), "a URL such as"),
        ] {
            let said = problems(json!({name: value}));
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let start = format!("plugins.activity.hdfs.client.{name}: is `{value}`: expected {expected}");
            assert!(said.len() == 1 && said[0].starts_with(&start), "{start}: {said:?}");
        }
        let fraction = serde_json::from_value::<ClientSettings>(json!({"dfs.client.socket-timeout": 0.5})).unwrap_err();
        assert_eq!(fraction.to_string(), "expected a text, a whole number, true or false");
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
