//! Makes tokens with the first secret, for trying things out.

use super::config::{AuthConfig, IssuerConfig};
use super::crypto;
use super::secret::{self, development_secret, make_development_secret, read_file};
use greyhound_sdk::paths;
use jsonwebtoken::{Algorithm, AlgorithmFamily, EncodingKey, Header, encode};
use serde_json::{Map, Value};
use std::path::Path;

/// Makes tokens that this node accepts.
#[derive(Debug, Clone)]
pub struct Minter {
    secret: EncodingKey,
    algorithm: Algorithm,
    issuer: IssuerConfig,
}

/// No token can be made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// All configured keys are public.
    #[error(
        "plugins.messaging.auth has only public keys, which verify tokens and cannot sign any: get a token from the \
         issuer"
    )]
    OnlyPublicKeys,
    /// The secret cannot be read or created.
    #[error("plugins.messaging.auth: the secret: {0}")]
    Secret(String),
    /// The claims lack what the configuration requires.
    #[error("the token has no claim `{0}`, which plugins.messaging.auth requires")]
    MissingClaim(String),
}

impl Minter {
    /// Signs with the first secret of the first issuer that has secrets. If no keys are configured, with the development
    /// secret in `data_dir`, which is created if it does not exist.
    ///
    /// # Errors
    /// If there is no secret, or its file cannot be read or written.
    pub fn new(config: &AuthConfig, data_dir: &Path) -> Result<Self, MintError> {
        crypto::install();
        if config.is_for_development() {
            make_development_secret(data_dir).map_err(MintError::Secret)?;
        }
        let issuers = config.all_issuers().into_iter().map(|(_, issuer)| issuer);
        let issuer = issuers.into_iter().find(IssuerConfig::is_symmetric).ok_or(MintError::OnlyPublicKeys)?;
        let secret = match (&issuer.secret[..], &issuer.secret_file[..]) {
            ([first, ..], _) => EncodingKey::from_secret(first.as_bytes()),
            (_, [first, ..]) => read(Path::new(first))?,
            _ => read(&development_secret(data_dir))?,
        };
        let mut algorithms = issuer.accepted_algorithms().into_iter();
        let algorithm = algorithms.find(|it| it.family() == AlgorithmFamily::Hmac).ok_or(MintError::OnlyPublicKeys)?;
        Ok(Self { secret, algorithm, issuer })
    }

    /// The claim that holds the user's id.
    #[must_use]
    pub fn user_claim(&self) -> &str {
        &self.issuer.user_claim
    }

    /// The claim that holds the site.
    #[must_use]
    pub fn site_claim(&self) -> &str {
        &self.issuer.site_claim
    }

    /// A token with these claims, and with `iss` and `aud` if the configuration expects them and they are missing.
    ///
    /// # Errors
    /// If a required claim is missing.
    pub fn mint(&self, mut claims: Map<String, Value>) -> Result<String, MintError> {
        for (name, expected) in [("iss", self.issuer.issuer.as_ref()), ("aud", self.issuer.audience.first())] {
            if let Some(expected) = expected {
                claims.entry(name).or_insert_with(|| expected.as_str().into());
            }
        }
        match self.issuer.required_claims.iter().find(|name| !claims.contains_key(*name)) {
            Some(missing) => Err(MintError::MissingClaim(missing.clone())),
            None => Ok(self.sign(&claims)),
        }
    }

    fn sign(&self, claims: &Map<String, Value>) -> String {
        encode(&Header::new(self.algorithm), claims, &self.secret)
            .expect("a secret signs with HMAC, and claims are JSON")
    }
}

fn read(path: &Path) -> Result<EncodingKey, MintError> {
    let contents = read_file(path).map_err(MintError::Secret)?;
    let secret =
        secret::of_file(&contents).map_err(|why| MintError::Secret(format!("{} {why}", paths::redacted(path))))?;
    Ok(EncodingKey::from_secret(secret))
}
