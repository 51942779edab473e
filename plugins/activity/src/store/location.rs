//! `plugins.activity.store`: where the tables are, as people write it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

const EXPECTED: &str =
    "expected the path of a local directory, \"hdfs://host:port/path\" or \"hdfs://nameservice/path\"";

/// Where tables are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// In a local directory.
    Local(PathBuf),
    /// In a directory of HDFS.
    Hdfs(HdfsLocation),
}

/// A directory of HDFS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HdfsLocation {
    /// The NameNode, `host:port`, or a nameservice; empty for the default file system of `core-site.xml`.
    authority: String,
    /// Absolute, never `/` itself, without a `/` at its end.
    root: String,
}

/// An invalid [`Location`]: why, and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotALocation(String);

impl FromStr for Location {
    type Err = NotALocation;

    fn from_str(text: &str) -> Result<Self, NotALocation> {
        let wrong = |why: &str| Err(NotALocation(format!("{why}: {EXPECTED}")));
        if text.trim().is_empty() {
            return wrong("is empty");
        }
        match text.split_once("://") {
            Some(("hdfs", rest)) => HdfsLocation::parse(rest).map(Self::Hdfs).or_else(|why| wrong(&why)),
            Some((scheme, _)) => wrong(&format!("no store speaks `{scheme}://`")),
            None if text.starts_with("hdfs:") => wrong("`hdfs:` must be followed by `//`"),
            None => Ok(Self::Local(text.into())),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => path.display().fmt(f),
            Self::Hdfs(location) => write!(f, "{}{}", location.url(), location.root),
        }
    }
}

impl HdfsLocation {
    /// Parses what follows `hdfs://`.
    fn parse(rest: &str) -> Result<Self, String> {
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        check_authority(authority)?;
        let path = path.trim_end_matches('/');
        if path.is_empty() {
            return Err("names no directory, and the tables would lie in the root".into());
        }
        if path.split('/').any(|name| name.is_empty() || name == "." || name == "..") {
            return Err("the path has an empty name, `.` or `..` in it".into());
        }
        if let Some(odd) = path.chars().find(|c| ":?#%*{}[]\\'".contains(*c) || c.is_control() || c.is_whitespace()) {
            return Err(format!(
                "the path has {odd:?} in it, which HDFS or the readers of the tables take for something else"
            ));
        }
        Ok(Self { authority: authority.to_owned(), root: format!("/{path}") })
    }

    /// The URL of the file system, without the path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("hdfs://{}", self.authority)
    }

    /// The nameservice, if the authority is one.
    #[must_use]
    pub fn nameservice(&self) -> Option<&str> {
        (!self.authority.is_empty() && !self.authority.contains(':')).then_some(self.authority.as_str())
    }

    /// The directory: absolute, without a `/` at its end.
    #[must_use]
    pub fn root(&self) -> &str {
        &self.root
    }
}

fn check_authority(authority: &str) -> Result<(), String> {
    if authority.contains('@') {
        return Err("it has no room for a user: set plugins.activity.hdfs.user".into());
    }
    let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
    if !host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)) || (host.is_empty() && port.is_some()) {
        return Err(format!("`{authority}` is neither a host with its port nor a nameservice"));
    }
    match port {
        Some(port) if !port.parse::<u16>().is_ok_and(|port| port > 0) => Err(format!("`{port}` is no port")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<(String, String), String> {
        match text.parse::<Location>().map_err(|e| e.to_string())? {
            Location::Hdfs(location) => Ok((location.url(), location.root().to_owned())),
            Location::Local(path) => Ok(("local".into(), path.display().to_string())),
        }
    }

    #[test]
    fn locations_are_what_people_write() {
        let ok = |url: &str, root: &str| Ok((url.to_owned(), root.to_owned()));
        assert_eq!(parse("data/tables"), ok("local", "data/tables"));
        assert_eq!(parse("/srv/a:b"), ok("local", "/srv/a:b"));
        assert_eq!(
            parse("hdfs://namenode.example.com:8020/warehouse/greyhound/"),
            ok("hdfs://namenode.example.com:8020", "/warehouse/greyhound")
        );
        assert_eq!(parse("hdfs://nameservice/warehouse"), ok("hdfs://nameservice", "/warehouse"));
        assert_eq!(parse("hdfs:///warehouse"), ok("hdfs://", "/warehouse"));
    }

    #[test]
    fn nonsense_is_refused_with_what_was_expected() {
        for (text, why) in [
            ("", "is empty"),
            ("  ", "is empty"),
            ("s3://bucket/x", "no store speaks `s3://`"),
            ("HDFS://n/x", "no store speaks `HDFS://`"),
            ("hdfs:/x", "must be followed by"),
            ("hdfs://n", "names no directory"),
            ("hdfs://n:8020/", "names no directory"),
            ("hdfs://n:0/x", "is no port"),
            ("hdfs://n:port/x", "is no port"),
            ("hdfs://:8020/x", "neither a host"),
            ("hdfs://a b/x", "neither a host"),
            ("hdfs://me@n/x", "set plugins.activity.hdfs.user"),
            ("hdfs://n/a//b", "empty name"),
            ("hdfs://n/a/../b", "`..`"),
            ("hdfs://n/a b", "has ' ' in it"),
            ("hdfs://n/a?b=c", "has '?' in it"),
        ] {
            let said = parse(text).unwrap_err();
            assert!(said.contains(why) && said.contains("hdfs://nameservice/path"), "{text}: {said}");
        }
    }
}
