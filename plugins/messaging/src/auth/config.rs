//! `[plugins.messaging.auth]` and `[plugins.messaging.auth.issuers]`.

use greyhound_sdk::config::duration;
use jsonwebtoken::{Algorithm, AlgorithmFamily};
use serde::de::{SeqAccess, Visitor, value};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// The name of the issuer that `[plugins.messaging.auth]` itself describes.
pub(super) const DEFAULT_ISSUER: &str = "default";

/// `[plugins.messaging.auth]`. The fields up to `join_claim` describe the default issuer; see [`IssuerConfig`].
#[derive(Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// The secrets that sign tokens.
    #[serde(deserialize_with = "one_or_several")]
    pub secret: Vec<String>,
    /// Files with one secret each.
    #[serde(deserialize_with = "one_or_several")]
    pub secret_file: Vec<String>,
    /// PEM files with public keys.
    #[serde(deserialize_with = "one_or_several")]
    pub public_key_file: Vec<String>,
    /// A file with a JWKS.
    pub jwks_file: Option<PathBuf>,
    /// The URL of a JWKS.
    pub jwks_url: Option<String>,
    /// How often the JWKS at the URL is fetched.
    #[serde(with = "duration")]
    pub jwks_refresh: Duration,
    /// The accepted algorithms. Default: all that fit the keys.
    pub algorithms: Option<Vec<Algorithm>>,
    /// The claim `iss` of the tokens. Default: not checked.
    pub issuer: Option<String>,
    /// The accepted values of the claim `aud`. Empty: not checked.
    #[serde(deserialize_with = "one_or_several")]
    pub audience: Vec<String>,
    /// How far the clocks of issuer and node may differ.
    #[serde(with = "duration")]
    pub leeway: Duration,
    /// The claims that a token must have.
    pub required_claims: Vec<String>,
    /// The claim that holds the user's id. If a token lacks it, `sub` is used.
    pub user_claim: String,
    /// The claim that holds the site. It takes precedence over the Origin header.
    pub site_claim: String,
    /// The claim that lists the rooms to join.
    pub rooms_claim: String,
    /// The claim that lists the rooms, as names or patterns, that the client may join and leave by itself.
    pub join_claim: String,
    /// Whether a token without the site claim gets its site from the Origin header. Any program can forge that header.
    pub site_from_origin: bool,
    /// Whether unauthenticated clients receive messages to everybody and are listed among the sockets.
    pub guests: bool,
    /// How long a client may take to authenticate.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// How long before its token expires a client gets the event `token_expiring`. `None`: it gets none.
    #[serde(with = "duration")]
    pub expiry_warning: Option<Duration>,
    /// Tokens of any issuer that were issued longer ago (`iat`) are refused, and revocations are forgotten an hour and
    /// the longest leeway after this time. `None`: no token is too old, and revocations are never forgotten.
    #[serde(with = "duration")]
    pub max_token_age: Option<Duration>,
    /// Further issuers, by name.
    pub issuers: BTreeMap<String, IssuerConfig>,
}

/// An issuer of tokens.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IssuerConfig {
    /// The secrets that sign tokens.
    #[serde(deserialize_with = "one_or_several")]
    pub secret: Vec<String>,
    /// Files with one secret each.
    #[serde(deserialize_with = "one_or_several")]
    pub secret_file: Vec<String>,
    /// PEM files with public keys.
    #[serde(deserialize_with = "one_or_several")]
    pub public_key_file: Vec<String>,
    /// A file with a JWKS.
    pub jwks_file: Option<PathBuf>,
    /// The URL of a JWKS.
    pub jwks_url: Option<String>,
    /// How often the JWKS at the URL is fetched.
    #[serde(with = "duration")]
    pub jwks_refresh: Duration,
    /// The accepted algorithms. Default: all that fit the keys.
    pub algorithms: Option<Vec<Algorithm>>,
    /// The claim `iss` of the tokens.
    pub issuer: Option<String>,
    /// The accepted values of the claim `aud`. Empty: not checked.
    #[serde(deserialize_with = "one_or_several")]
    pub audience: Vec<String>,
    /// How far the clocks of issuer and node may differ.
    #[serde(with = "duration")]
    pub leeway: Duration,
    /// The claims that a token must have.
    pub required_claims: Vec<String>,
    /// The claim that holds the user's id. If a token lacks it, `sub` is used.
    pub user_claim: String,
    /// The claim that holds the site. It takes precedence over the Origin header.
    pub site_claim: String,
    /// The claim that lists the rooms to join.
    pub rooms_claim: String,
    /// The claim that lists the rooms, as names or patterns, that the client may join and leave by itself.
    pub join_claim: String,
}

impl Default for IssuerConfig {
    fn default() -> Self {
        Self {
            secret: Vec::new(),
            secret_file: Vec::new(),
            public_key_file: Vec::new(),
            jwks_file: None,
            jwks_url: None,
            jwks_refresh: Duration::from_secs(300),
            algorithms: None,
            issuer: None,
            audience: Vec::new(),
            leeway: Duration::ZERO,
            required_claims: Vec::new(),
            user_claim: "id".into(),
            site_claim: "site".into(),
            rooms_claim: "rooms".into(),
            join_claim: "join".into(),
        }
    }
}

impl Default for AuthConfig {
    fn default() -> Self {
        let own = IssuerConfig::default();
        Self {
            secret: own.secret,
            secret_file: own.secret_file,
            public_key_file: own.public_key_file,
            jwks_file: own.jwks_file,
            jwks_url: own.jwks_url,
            jwks_refresh: own.jwks_refresh,
            algorithms: own.algorithms,
            issuer: own.issuer,
            audience: own.audience,
            leeway: own.leeway,
            required_claims: own.required_claims,
            user_claim: own.user_claim,
            site_claim: own.site_claim,
            rooms_claim: own.rooms_claim,
            join_claim: own.join_claim,
            site_from_origin: true,
            guests: false,
            timeout: Duration::from_secs(5),
            expiry_warning: None,
            max_token_age: None,
            issuers: BTreeMap::new(),
        }
    }
}

impl std::fmt::Debug for AuthConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthConfig")
            .field("default", &self.default_issuer())
            .field("issuers", &self.issuers)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for IssuerConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The secrets are not shown, nor the paths of their files, which may be the secrets themselves.
        f.debug_struct("IssuerConfig").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl AuthConfig {
    /// The issuer that the section itself describes.
    pub(super) fn default_issuer(&self) -> IssuerConfig {
        IssuerConfig {
            secret: self.secret.clone(),
            secret_file: self.secret_file.clone(),
            public_key_file: self.public_key_file.clone(),
            jwks_file: self.jwks_file.clone(),
            jwks_url: self.jwks_url.clone(),
            jwks_refresh: self.jwks_refresh,
            algorithms: self.algorithms.clone(),
            issuer: self.issuer.clone(),
            audience: self.audience.clone(),
            leeway: self.leeway,
            required_claims: self.required_claims.clone(),
            user_claim: self.user_claim.clone(),
            site_claim: self.site_claim.clone(),
            rooms_claim: self.rooms_claim.clone(),
            join_claim: self.join_claim.clone(),
        }
    }

    /// All issuers with their names. The default one is among them if it has keys, or if there is no other: then it has
    /// the development secret.
    pub(super) fn all_issuers(&self) -> Vec<(String, IssuerConfig)> {
        let own = self.default_issuer();
        let own = (!own.sources().is_empty() || self.issuers.is_empty()).then(|| (DEFAULT_ISSUER.to_owned(), own));
        own.into_iter().chain(self.issuers.clone()).collect()
    }

    /// How long a token lives at most, from its time of issue. `None`: it may live for ever.
    pub(crate) fn token_life_max(&self) -> Option<Duration> {
        let leeway = self.all_issuers().iter().map(|(_, issuer)| issuer.leeway).max().unwrap_or_default();
        self.max_token_age.map(|age| age.saturating_add(leeway))
    }

    /// Whether this node has a secret, with which it can sign tokens.
    #[must_use]
    pub fn can_sign(&self) -> bool {
        self.all_issuers().iter().any(|(_, issuer)| issuer.is_symmetric())
    }

    /// Whether no keys are configured: then the development secret is used.
    #[must_use]
    pub fn is_for_development(&self) -> bool {
        self.issuers.is_empty() && self.default_issuer().sources().is_empty()
    }
}

impl IssuerConfig {
    /// The keys of the configuration that name keys of tokens.
    pub(super) fn sources(&self) -> Vec<&'static str> {
        let set = [
            ("secret", !self.secret.is_empty()),
            ("secret_file", !self.secret_file.is_empty()),
            ("public_key_file", !self.public_key_file.is_empty()),
            ("jwks_file", self.jwks_file.is_some()),
            ("jwks_url", self.jwks_url.is_some()),
        ];
        set.into_iter().filter_map(|(key, is_set)| is_set.then_some(key)).collect()
    }

    /// The configuration's key that names the keys of tokens, below `section`. The section itself if none does.
    pub(super) fn key_of_source(&self, section: &str) -> String {
        self.sources().first().map_or_else(|| section.to_owned(), |key| format!("{section}.{key}"))
    }

    /// Whether the tokens are signed with shared secrets.
    pub(super) fn is_symmetric(&self) -> bool {
        self.sources().iter().all(|key| key.starts_with("secret"))
    }

    /// The accepted algorithms.
    pub(super) fn accepted_algorithms(&self) -> Vec<Algorithm> {
        self.algorithms.clone().unwrap_or_else(|| self.fitting_algorithms())
    }

    /// The algorithms of shared secrets, or those of public keys.
    pub(super) fn fitting_algorithms(&self) -> Vec<Algorithm> {
        use AlgorithmFamily::{Ec, Ed, Hmac, Rsa};
        let families: &[_] = if self.is_symmetric() { &[Hmac] } else { &[Rsa, Ec, Ed] };
        families.iter().flat_map(AlgorithmFamily::algorithms).copied().collect()
    }
}

/// Reads a text or a list of texts. A text that is a JSON list of texts is that list, so that an environment variable can
/// have several.
fn one_or_several<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct OneOrSeveral;

    impl<'de> Visitor<'de> for OneOrSeveral {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a text or a list of texts")
        }

        fn visit_str<E>(self, text: &str) -> Result<Vec<String>, E> {
            Ok(serde_json::from_str(text).unwrap_or_else(|_| vec![text.to_owned()]))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Vec<String>, A::Error> {
            Vec::deserialize(value::SeqAccessDeserializer::new(list))
        }
    }

    deserializer.deserialize_any(OneOrSeveral)
}
