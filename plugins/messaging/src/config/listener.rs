//! Where the gateway listens.

use greyhound_sdk::config::Problems;
use greyhound_sdk::paths;
use greyhound_sdk::tls::TlsFiles;
use serde::{Deserialize, Deserializer, de};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// How an address of a Unix socket begins.
const UNIX: &str = "unix:";
/// The room for a path in the system's address of a Unix socket.
const UNIX_PATH_LEN_MAX: usize = 107;

/// An element of `plugins.messaging.listeners`: a listener besides `plugins.messaging.listen`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerConfig {
    /// The address.
    pub listen: ListenAddress,
    /// Whether each connection begins with a header of the PROXY protocol.
    #[serde(default)]
    pub proxy_protocol: bool,
    /// The certificate with which it speaks TLS.
    #[serde(default)]
    pub tls: TlsConfig,
}

/// The address of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// Over TCP.
    Tcp(SocketAddr),
    /// A Unix socket, written as `unix:` and its path.
    Unix(PathBuf),
}

/// `tls` of a listener. Without files, it speaks HTTP without TLS.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// The certificate, followed by those of its issuers, in PEM.
    pub certificate: Option<PathBuf>,
    /// The certificate's private key, in PEM.
    pub key: Option<PathBuf>,
}

// === impl ListenerConfig ===

impl ListenerConfig {
    /// Reports problems of the listener whose keys are below `prefix`. `any_proxy`: whether there are trusted proxies.
    pub(super) fn check(&self, prefix: &str, any_proxy: bool, problems: &mut Problems) {
        let TlsConfig { certificate, key } = &self.tls;
        let report_tls =
            |problems: &mut Problems, name: &str, why: &str| problems.report(&format!("{prefix}tls.{name}"), why);
        match (certificate.is_some(), key.is_some()) {
            (true, false) => report_tls(problems, "key", "is missing: name the key of tls.certificate"),
            (false, true) => report_tls(problems, "certificate", "is missing: name the certificate of tls.key"),
            _ => {}
        }
        if matches!(&self.listen, ListenAddress::Unix(path) if path.as_os_str().len() > UNIX_PATH_LEN_MAX) {
            let why = format!("the path of a Unix socket has at most {UNIX_PATH_LEN_MAX} bytes: choose a shorter one");
            problems.report(&format!("{prefix}listen"), why);
        }
        if self.listen.socket_address().is_none() && self.tls != TlsConfig::default() {
            report_tls(problems, "certificate", "a Unix socket has no TLS: leave it out, or listen on a TCP address");
        }
        if self.listen.socket_address().is_some() && self.proxy_protocol && !any_proxy {
            let why = "trusted_proxies is empty, so that every connection would be closed: list the proxies there";
            problems.report(&format!("{prefix}proxy_protocol"), why);
        }
    }

    /// Whether only programs on this machine connect to it, and speak for themselves.
    pub(super) fn is_on_loopback(&self) -> bool {
        self.listen.socket_address().is_some_and(|address| address.ip().is_loopback()) && !self.proxy_protocol
    }

    /// Checks the files of TLS, and the directory of the Unix socket.
    pub(super) fn look(&self, prefix: &str, problems: &mut Problems) {
        if let ListenAddress::Unix(path) = &self.listen
            && let Err(why) = check_parent(path)
        {
            problems.report(&format!("{prefix}listen"), why);
        }
        let Some(files) = self.tls.files() else { return };
        match files.check() {
            Ok(false) => {}
            Ok(true) => problems.warn(
                &format!("{prefix}tls.certificate"),
                format!("{} has expired: clients refuse it; renew it", files.certificate.display()),
            ),
            Err(errors) => {
                errors.into_iter().for_each(|error| problems.report(&format!("{prefix}tls.{}", error.key), error.why));
            }
        }
    }
}

/// Checks that the directory exists and is writable.
fn check_parent(path: &Path) -> Result<(), String> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match directory.is_dir() {
        true => paths::check_directory(directory),
        false => Err(format!("{} is not a directory: create it, or set another path", directory.display())),
    }
}

// === impl TlsConfig ===

impl TlsConfig {
    /// The files, if both are named.
    #[must_use]
    pub fn files(&self) -> Option<TlsFiles> {
        Some(TlsFiles { certificate: self.certificate.clone()?, key: self.key.clone()?, client_ca: None })
    }
}

// === impl ListenAddress ===

impl ListenAddress {
    /// The address over TCP; `None` for a Unix socket.
    #[must_use]
    pub fn socket_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

impl<'de> Deserialize<'de> for ListenAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.strip_prefix(UNIX) {
            Some("") => Err(de::Error::custom("expected a path after `unix:`")),
            Some(path) => Ok(Self::Unix(Path::new(path).to_owned())),
            None => text.parse().map(Self::Tcp).map_err(de::Error::custom),
        }
    }
}
