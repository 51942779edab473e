//! Where the keys of an issuer come from.

use super::config::IssuerConfig;
use super::key::{Key, Keys, Material};
use super::secret::{development_secret, read_file};
use super::{jwks, pem, secret};
use crate::http_client::{HttpClient, Limits};
use axum::http::{Request, Uri, header};
use greyhound_sdk::paths;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::task::spawn_blocking;

/// How often files are read again.
const FILE_INTERVAL: Duration = Duration::from_secs(2);
/// The limits of a request for a JWKS. Sets of keys have a few kilobytes.
pub(super) const JWKS_LIMITS: Limits = Limits { timeout: Duration::from_secs(5), body: 256 << 10 };

/// Where the keys of an issuer come from.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// Secrets in the configuration.
    Secrets(Vec<Key>),
    Files(Format, Vec<PathBuf>),
    Jwks {
        url: Uri,
        refresh: Duration,
    },
}

/// What files of keys contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Secret,
    Pem,
    Jwks,
}

impl Format {
    fn remedy(self) -> &'static str {
        match self {
            Self::Secret => "put the secret into it, or name another file",
            Self::Pem => "put public keys in PEM into it, or name another file",
            Self::Jwks => "put a JWKS with public keys into it, or name another file",
        }
    }
}

impl Source {
    /// The source in a valid configuration; the development secret if it has none.
    pub(super) fn new(config: &IssuerConfig, data_dir: &Path) -> Self {
        let paths = |paths: &[String]| paths.iter().map(PathBuf::from).collect();
        if let Some(url) = config.jwks_url.as_ref().and_then(|url| url.parse().ok()) {
            return Self::Jwks { url, refresh: config.jwks_refresh };
        }
        if let Some(path) = &config.jwks_file {
            return Self::Files(Format::Jwks, vec![path.clone()]);
        }
        match (&config.public_key_file[..], &config.secret_file[..], &config.secret[..]) {
            ([], [], []) => Self::Files(Format::Secret, vec![development_secret(data_dir)]),
            ([], [], secrets) => Self::Secrets(secrets.iter().map(|it| secret_key(it.as_bytes())).collect()),
            ([], files, _) => Self::Files(Format::Secret, paths(files)),
            (files, ..) => Self::Files(Format::Pem, paths(files)),
        }
    }

    /// When to read the keys again. `None`: never, because they are in the configuration.
    pub(super) fn interval(&self) -> Option<Duration> {
        match self {
            Self::Secrets(_) => None,
            Self::Files(..) => Some(FILE_INTERVAL),
            Self::Jwks { refresh, .. } => Some(*refresh),
        }
    }

    pub(super) fn is_remote(&self) -> bool {
        matches!(self, Self::Jwks { .. })
    }

    /// The keys.
    ///
    /// # Errors
    /// What is wrong, and with which file or server.
    pub(super) async fn load(&self, http: &HttpClient) -> Result<Keys, String> {
        match self {
            Self::Jwks { url, .. } => fetch(http, url).await.map_err(|why| format!("{}: {why}", shown(url))),
            local => {
                let local = local.clone();
                spawn_blocking(move || local.read()).await.unwrap_or_else(|e| Err(e.to_string()))
            }
        }
    }

    /// The keys, unless they are at a URL: then none.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub(super) fn read(&self) -> Result<Keys, String> {
        match self {
            Self::Secrets(keys) => Keys::new(keys.clone()),
            Self::Files(format, paths) => {
                let keys: Result<Vec<_>, String> = paths.iter().map(|path| read_keys(*format, path)).collect();
                Keys::new(keys?.concat())
            }
            Self::Jwks { .. } => Ok(Keys::default()),
        }
    }
}

fn secret_key(secret: &[u8]) -> Key {
    Key::new(Material::secret(secret))
}

fn read_keys(format: Format, path: &Path) -> Result<Vec<Key>, String> {
    let contents = read_file(path).map_err(|why| format!("{why}: {}", format.remedy()))?;
    let keys = match format {
        Format::Secret => secret::of_file(&contents).map(|secret| vec![secret_key(secret)]),
        Format::Pem => pem::keys(&contents),
        Format::Jwks => jwks::keys(&contents),
    };
    let keys = keys.and_then(|keys| if keys.is_empty() { Err("has no key".to_owned()) } else { Ok(keys) });
    keys.map_err(|why| format!("{} {why}: {}", paths::redacted(path), format.remedy()))
}

async fn fetch(http: &HttpClient, url: &Uri) -> Result<Keys, String> {
    let request = Request::get(url).header(header::ACCEPT, "application/json").body(Default::default());
    let answer = http.send(request.map_err(|e| e.to_string())?, JWKS_LIMITS).await.map_err(|e| e.to_string())?;
    if !answer.status().is_success() {
        return Err(format!("the answer is {}", answer.status()));
    }
    let keys = jwks::keys(answer.body()).map_err(|why| format!("the answer {why}"))?;
    Keys::new(keys).map_err(|why| format!("the answer {why}"))
}

/// The URL without its query, which may contain a password.
fn shown(url: &Uri) -> String {
    let scheme = url.scheme_str().unwrap_or_default();
    format!("{scheme}://{}{}", url.authority().map_or("", |it| it.as_str()), url.path())
}
