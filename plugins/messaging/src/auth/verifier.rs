//! Verifies tokens of all issuers.

use super::claims::invalid_issuer;
use super::config::{AuthConfig, DEFAULT_ISSUER};
use super::crypto;
use super::identity::Identity;
use super::issuer::Issuer;
use super::rejection::Rejection;
use super::secret::make_development_secret;
use super::token::Token;
use crate::http_client::HttpClient;
use futures_util::future::join_all;
use greyhound_sdk::Health;
use serde_json::Value;
use std::future::Future;
use std::path::Path;
use std::time::UNIX_EPOCH;

/// Verifies tokens.
pub(crate) struct Verifier {
    /// Each accepts the tokens with its own `iss`.
    issuers: Vec<Issuer>,
    /// Accepts the tokens whose `iss` no other issuer has.
    default: Option<Issuer>,
}

/// The keys of tokens cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("plugins.messaging.{key}: {why}")]
pub struct KeyError {
    key: String,
    why: String,
}

impl Verifier {
    /// Reads the keys in files. If no keys are configured, creates the development secret unless it exists.
    ///
    /// # Errors
    /// If a file cannot be read or written, or has no usable key.
    pub(crate) fn new(config: &AuthConfig, data_dir: &Path) -> Result<Self, KeyError> {
        crypto::install();
        if config.is_for_development() {
            make_development_secret(data_dir).map_err(|why| KeyError { key: "auth".into(), why })?;
        }
        let max_token_age = config.max_token_age;
        let mut verifier = Self { issuers: Vec::new(), default: None };
        for (name, config) in config.all_issuers() {
            let is_default = name == DEFAULT_ISSUER;
            let section = if is_default { "auth".to_owned() } else { format!("auth.issuers.{name}") };
            let error = |why| KeyError { key: config.key_of_source(&section), why };
            let issuer = Issuer::new(name, &config, max_token_age, data_dir).map_err(error)?;
            match is_default {
                true => verifier.default = Some(issuer),
                false => verifier.issuers.push(issuer),
            }
        }
        Ok(verifier)
    }

    pub(crate) fn verify(&self, token: &str) -> Result<Identity, Rejection> {
        let token = Token::read(token)?;
        let now = UNIX_EPOCH.elapsed().unwrap_or_default().as_secs_f64();
        self.issuer(&token)?.verify(token, now)
    }

    /// What to wait for before the token is verified: its issuer is being asked for a key that the token names and the
    /// node does not know yet.
    pub(crate) fn missing_key(&self, token: &str) -> Option<impl Future<Output = ()> + Send + use<>> {
        if !self.all().any(|issuer| issuer.keys.are_remote()) {
            return None;
        }
        let token = Token::read(token).ok()?;
        let issuer = self.issuer(&token).ok().filter(|issuer| issuer.lacks_key(&token))?;
        issuer.keys.ask()
    }

    /// Keeps the keys of all issuers current. Never returns.
    pub(crate) async fn keep_keys_current(&self, health: &Health) {
        let (http, health) = (HttpClient::new(), health.of("keys"));
        join_all(self.all().map(|issuer| issuer.keys.keep_current(&http, &health))).await;
        std::future::pending().await
    }

    fn all(&self) -> impl Iterator<Item = &Issuer> {
        self.default.iter().chain(&self.issuers)
    }

    /// The issuer that the token claims to come from. It is not trusted before the signature is verified.
    fn issuer(&self, token: &Token<'_>) -> Result<&Issuer, Rejection> {
        let name = token.claims.get("iss").and_then(Value::as_str);
        let named = self.all().find(|issuer| name.is_some() && issuer.name() == name);
        named.or(self.default.as_ref()).ok_or_else(|| invalid_issuer(self.issuers.iter().filter_map(Issuer::name)))
    }
}
