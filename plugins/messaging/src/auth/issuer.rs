//! One issuer: its keys, its algorithms, and the rules for its claims.

use super::claims::ClaimRules;
use super::config::IssuerConfig;
use super::identity::{ClaimNames, Identity};
use super::key::Verdict;
use super::live_keys::LiveKeys;
use super::rejection::Rejection;
use super::source::Source;
use super::token::Token;
use jsonwebtoken::Algorithm;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// An issuer of tokens.
pub(super) struct Issuer {
    pub(super) keys: Arc<LiveKeys>,
    algorithms: Vec<Algorithm>,
    rules: ClaimRules,
    names: ClaimNames,
}

impl Issuer {
    /// # Errors
    /// What is wrong with which file of keys.
    pub(super) fn new(
        name: String,
        config: &IssuerConfig,
        max_token_age: Option<Duration>,
        data_dir: &Path,
    ) -> Result<Self, String> {
        Ok(Self {
            keys: Arc::new(LiveKeys::new(name, Source::new(config, data_dir))?),
            algorithms: config.accepted_algorithms(),
            rules: ClaimRules::new(config, max_token_age),
            names: ClaimNames::new(config),
        })
    }

    /// The `iss` of its tokens. `None`: any.
    pub(super) fn name(&self) -> Option<&str> {
        self.rules.issuer()
    }

    /// Whether the token's signature can be compared with no key of the issuer, but the token names a key, or there are
    /// no keys yet.
    pub(super) fn lacks_key(&self, token: &Token<'_>) -> bool {
        let keys = self.keys.current();
        let Some(algorithm) = token.algorithm.filter(|it| self.algorithms.contains(it)) else { return false };
        (token.key_id.is_some() || keys.len() == 0) && !keys.has_key(token.key_id.as_deref(), algorithm)
    }

    pub(super) fn verify(&self, token: Token<'_>, now: f64) -> Result<Identity, Rejection> {
        let algorithm = token.algorithm.filter(|it| self.algorithms.contains(it)).ok_or(Rejection::ALGORITHM)?;
        match self.keys.current().verify(token.key_id.as_deref(), algorithm, token.message, token.signature) {
            Verdict::Valid => {}
            Verdict::Invalid => return Err(Rejection::SIGNATURE),
            Verdict::NoKey => return Err(Rejection::NO_KEY),
        }
        // The signature is valid, so that the claims can be trusted.
        let claimed = self.names.user(&token.claims);
        let accepted = self.rules.accepted(&token.claims, now);
        let identity = self.rules.check(&token.claims, now).and_then(|()| self.names.identity(token.claims, accepted));
        identity.map_err(|rejection| Rejection { claimed, ..rejection })
    }
}
