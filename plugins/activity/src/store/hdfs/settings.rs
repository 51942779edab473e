//! `[plugins.activity.hdfs]`: who writes the tables, and the properties of their files.

use super::client_settings::ClientSettings;
use greyhound_sdk::config::{ByteSize, Problems};
use serde::Deserialize;
use std::fmt;

/// The limits of HDFS's default configuration.
const REPLICATION_LIMITS: std::ops::RangeInclusive<u32> = 1..=512;

/// How the tables are written.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The principal that logs in with Kerberos: with the keytab, or with its ticket in the existing cache.
    pub principal: Option<String>,
    /// The path of the principal's keytab.
    pub keytab: Option<String>,
    /// The user who writes: with Kerberos, one whom the principal may impersonate; without it, any user.
    pub user: Option<String>,
    /// The number of copies of each file; `None` for HDFS's default.
    pub replication: Option<u32>,
    /// A file has one block, as large as the file, rounded up to a multiple of this.
    pub block_size: ByteSize,
    /// The group of files and directories; `None` for the group of their directory.
    pub group: Option<String>,
    /// The permission of files.
    pub file_permission: Permission,
    /// The permission of directories.
    pub directory_permission: Permission,
    /// Settings of Hadoop's client, over those in `HADOOP_CONF_DIR`.
    pub client: ClientSettings,
}

/// A permission, written as three octal digits.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Permission(pub(crate) u32);

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self {
            principal: None,
            keytab: None,
            user: None,
            replication: None,
            block_size: ByteSize::mib(1),
            group: None,
            file_permission: Permission(0o644),
            directory_permission: Permission(0o755),
            client: ClientSettings::default(),
        }
    }
}

impl Settings {
    pub(crate) fn check(&self, problems: &mut Problems) {
        self.check_login(problems);
        if self.replication.is_some_and(|it| !REPLICATION_LIMITS.contains(&it)) {
            problems.report(
                "hdfs.replication",
                format!("expected {} to {}", REPLICATION_LIMITS.start(), REPLICATION_LIMITS.end()),
            );
        }
        let mib = ByteSize::mib(1).as_u64();
        if !self.block_size.as_u64().is_multiple_of(mib)
            || !(ByteSize::mib(1)..=ByteSize::gib(2)).contains(&self.block_size)
        {
            problems.report("hdfs.block_size", "expected \"1MiB\" to \"2GiB\", in whole MiB");
        }
        for (key, name) in [("hdfs.user", &self.user), ("hdfs.group", &self.group)] {
            if name.as_deref().is_some_and(|it| it.is_empty() || it.contains(char::is_whitespace)) {
                problems.report(key, "is no name: leave it out, or give one without spaces");
            }
        }
        for (key, permission, least) in [
            ("hdfs.file_permission", self.file_permission, 0o600),
            ("hdfs.directory_permission", self.directory_permission, 0o700),
        ] {
            if permission.0 & least != least {
                problems.report(key, format!("Greyhound itself could not work there: expected at least \"{least:o}\""));
            }
        }
        self.client.check(problems);
    }

    fn check_login(&self, problems: &mut Problems) {
        match self.principal.as_deref() {
            None if self.keytab.is_some() => {
                problems.report(
                    "hdfs.principal",
                    "is missing: a keytab may hold several, such as \"greyhound@EXAMPLE.COM\"",
                );
            }
            Some(principal) if principal.is_empty() || principal.contains(char::is_whitespace) => {
                problems.report("hdfs.principal", "is no principal: expected a text such as \"greyhound@EXAMPLE.COM\"");
            }
            Some(principal) if principal.contains("_HOST") => {
                problems.report("hdfs.principal", "`_HOST` is not replaced: write the name of this host in its place");
            }
            Some(_) if self.client.is_simple() => problems.report(
                "hdfs.principal",
                "is for Kerberos: leave it out, or hdfs.client.\"hadoop.security.authentication\" = \"simple\"",
            ),
            _ => {}
        }
        if self.keytab.as_deref().is_some_and(str::is_empty) {
            problems.report("hdfs.keytab", "is no path: leave it out, or give the path of the principal's keytab");
        }
    }
}

// === impl Permission ===

impl TryFrom<String> for Permission {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.len() == 3 && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
        let bits = u32::from_str_radix(&text, 8).ok().filter(|_| digits);
        bits.map(Self).ok_or_else(|| format!("`{text}` is no permission: expected three octal digits, such as \"750\""))
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03o}", self.0)
    }
}

impl fmt::Debug for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn problems(value: serde_json::Value) -> Vec<String> {
        let mut problems = Problems::default();
        serde_json::from_value::<Settings>(value).unwrap().check(&mut problems);
        problems.into_list().into_iter().map(|p| format!("{}: {}", p.key, p.message)).collect()
    }

    #[test]
    fn nothing_needs_to_be_set_and_all_may_be() {
        assert!(problems(json!({})).is_empty());
        let all = json!({
            "principal": "greyhound/web-1@EXAMPLE.COM", "keytab": "/etc/greyhound.keytab", "user": "activity", "replication": 2,
            "block_size": "128MiB", "group": "analysts", "file_permission": "640", "directory_permission": "750",
            "client": {"dfs.client.socket-timeout": 9000},
        });
        assert_eq!(problems(all), Vec::<String>::new());
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_was_expected() {
        for (wrong, why) in [
            (json!({"keytab": "/k"}), "hdfs.principal: is missing"),
            (json!({"principal": ""}), "hdfs.principal: is no principal"),
            (json!({"principal": "g/_HOST@X"}), "`_HOST` is not replaced"),
            (
                json!({"principal": "g@X", "client": {"hadoop.security.authentication": "simple"}}),
                "hdfs.principal: is for Kerberos",
            ),
            (json!({"principal": "g@X", "keytab": ""}), "hdfs.keytab: is no path"),
            (json!({"user": "a b"}), "hdfs.user: is no name"),
            (json!({"group": ""}), "hdfs.group: is no name"),
            (json!({"replication": 0}), "hdfs.replication: expected 1 to 512"),
            (json!({"block_size": "1500KiB"}), "hdfs.block_size: expected"),
            (json!({"block_size": "4GiB"}), "hdfs.block_size: expected"),
            (json!({"file_permission": "444"}), "hdfs.file_permission: Greyhound itself"),
            (json!({"directory_permission": "655"}), "hdfs.directory_permission: Greyhound itself"),
        ] {
            let said = problems(wrong.clone());
            assert!(said.len() == 1 && said[0].contains(why), "{wrong}: {said:?}");
        }
        for text in ["75", "0755", "789", "-77", "rwx"] {
            let error = serde_json::from_value::<Settings>(json!({"file_permission": text})).unwrap_err().to_string();
            assert!(error.contains("three octal digits"), "{error}");
        }
    }
}
