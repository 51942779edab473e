//! Makes tokens with the first secret, for trying things out.

use super::algorithm::{Algorithm, Scheme};
use super::config::{AuthConfig, IssuerConfig};
use super::secret::{Secret, development_secret, make_development_secret, read_file};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use greyhound_sdk::paths;
use ring::hmac;
use serde_json::{Map, Value, json};
use std::path::Path;

/// Makes tokens that this node accepts.
#[derive(Debug, Clone)]
pub struct Minter {
    secret: Secret,
    algorithm: Algorithm,
    hash: hmac::Algorithm,
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
        if config.is_for_development() {
            make_development_secret(data_dir).map_err(MintError::Secret)?;
        }
        let issuers = config.all_issuers().into_iter().map(|(_, issuer)| issuer);
        let issuer = issuers.into_iter().find(IssuerConfig::is_symmetric).ok_or(MintError::OnlyPublicKeys)?;
        let secret = match (&issuer.secret[..], &issuer.secret_file[..]) {
            ([first, ..], _) => Secret::new(first.as_bytes()),
            (_, [first, ..]) => read(Path::new(first))?,
            _ => read(&development_secret(data_dir))?,
        };
        let symmetric = |it: Algorithm| match it.scheme() {
            Scheme::Hmac(hash) => Some((it, hash)),
            _ => None,
        };
        let (algorithm, hash) =
            issuer.accepted_algorithms().into_iter().find_map(symmetric).ok_or(MintError::OnlyPublicKeys)?;
        Ok(Self { secret, algorithm, hash, issuer })
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
        let header = json!({ "typ": "JWT", "alg": self.algorithm }).to_string();
        let claims = serde_json::to_string(claims).expect("JSON is text");
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = hmac::sign(&hmac::Key::new(self.hash, self.secret.bytes()), message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn read(path: &Path) -> Result<Secret, MintError> {
    let secret = read_file(path)
        .and_then(|contents| Secret::of_file(&contents).map_err(|why| format!("{} {why}", paths::redacted(path))));
    secret.map_err(MintError::Secret)
}
