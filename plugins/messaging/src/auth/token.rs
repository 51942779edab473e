//! What a token says, in the words of socketio-jwt 4.x, which the clients know.

use super::Secret;
use crate::config::AuthConfig;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Serialize;
use serde_json::{Map, Value};

/// Verifies tokens.
pub(crate) struct Verifier {
    key: DecodingKey,
    validation: Validation,
    user_claim: String,
    site_claim: String,
}

/// What a genuine token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The user's id, as text.
    pub(crate) user: String,
    /// The site, where the token names one.
    pub(crate) site: Option<String>,
}

/// Why a token was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rejection {
    /// What the client is told.
    pub(crate) message: &'static str,
    /// Whether it is only too old.
    pub(crate) expired: bool,
}

/// The payload of `unauthorized`.
#[derive(Serialize)]
pub(crate) struct Unauthorized {
    message: &'static str,
    inner: Inner,
    data: Data,
}

#[derive(Serialize)]
struct Inner {
    message: &'static str,
}

#[derive(Serialize)]
struct Data {
    message: &'static str,
    code: &'static str,
    r#type: &'static str,
}

impl Rejection {
    /// No token, or no text.
    pub(crate) const NOT_A_TEXT: Self = Self { message: "invalid token datatype", expired: false };
    /// The server stops.
    pub(crate) const STOPPING: Self = Self { message: "server shutting down", expired: false };
    const NO_USER: Self = Self { message: "jwt has no user id", expired: false };

    /// What is sent with `unauthorized`.
    pub(crate) fn payload(self) -> Unauthorized {
        let message = self.message;
        Unauthorized { message, inner: Inner { message }, data: Data { message, code: "invalid_token", r#type: "UnauthorizedError" } }
    }
}

impl std::fmt::Display for Rejection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.message)
    }
}

impl Verifier {
    pub(crate) fn new(config: &AuthConfig, secret: &Secret) -> Self {
        let mut algorithms = config.algorithms.iter().map(|name| match name.as_str() {
            "HS384" => Algorithm::HS384,
            "HS512" => Algorithm::HS512,
            _ => Algorithm::HS256,
        });
        let mut validation = Validation::new(algorithms.next().unwrap_or(Algorithm::HS256));
        validation.algorithms.extend(algorithms);
        // As Node's jsonwebtoken: no leeway, `exp` only where it is there, `nbf` checked, no audience asked for.
        validation.leeway = 0;
        validation.required_spec_claims.clear();
        validation.validate_nbf = true;
        validation.validate_aud = false;
        let key = DecodingKey::from_secret(secret.bytes());
        Self { key, validation, user_claim: config.user_claim.clone(), site_claim: config.site_claim.clone() }
    }

    /// Who the token is about.
    pub(crate) fn verify(&self, token: &str) -> Result<Identity, Rejection> {
        let claims = decode::<Map<String, Value>>(token, &self.key, &self.validation).map_err(|e| rejection(e.kind()))?.claims;
        let user = [self.user_claim.as_str(), "sub"].iter().find_map(|claim| text(claims.get(*claim)?)).ok_or(Rejection::NO_USER)?;
        Ok(Identity { user, site: claims.get(&self.site_claim).and_then(text) })
    }
}

/// A claim that is a text or a number.
fn text(claim: &Value) -> Option<String> {
    match claim {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn rejection(error: &ErrorKind) -> Rejection {
    let message = match error {
        ErrorKind::ExpiredSignature => return Rejection { message: "jwt expired", expired: true },
        ErrorKind::InvalidSignature => "invalid signature",
        ErrorKind::ImmatureSignature => "jwt not active",
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => "invalid algorithm",
        _ => "jwt malformed",
    };
    Rejection { message, expired: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::mint;
    use serde_json::json;
    use std::path::Path;

    fn secret(text: &str) -> Secret {
        Secret::find_or_make(&AuthConfig { secret: Some(text.into()), ..AuthConfig::default() }, Path::new("/")).unwrap()
    }

    fn verify(claims: Value) -> Result<Identity, Rejection> {
        let secret = secret("s");
        let token = mint(&secret, claims.as_object().unwrap()).unwrap();
        Verifier::new(&AuthConfig::default(), &secret).verify(&token)
    }

    #[test]
    fn the_user_is_the_claim_or_the_subject_text_or_number() {
        let user = |claims| verify(claims).map(|i| i.user);
        assert_eq!(user(json!({"id": 1})), Ok("1".into()));
        assert_eq!(user(json!({"id": "a", "sub": "b"})), Ok("a".into()));
        assert_eq!(user(json!({"sub": "b"})), Ok("b".into()));
        assert_eq!(user(json!({"id": null, "sub": 7})), Ok("7".into()));
        assert_eq!(user(json!({"name": "x"})), Err(Rejection::NO_USER));
        assert_eq!(verify(json!({"id": 1, "site": "example.com"})).unwrap().site.as_deref(), Some("example.com"));
    }

    #[test]
    fn a_token_is_refused_in_the_words_that_clients_know() {
        let message = |result: Result<Identity, Rejection>| result.unwrap_err().message;
        assert_eq!(message(verify(json!({"id": 1, "exp": 1}))), "jwt expired");
        assert_eq!(message(verify(json!({"id": 1, "nbf": 4_000_000_000_u64}))), "jwt not active");
        let other = mint(&secret("other"), json!({"id": 1}).as_object().unwrap()).unwrap();
        let verifier = Verifier::new(&AuthConfig::default(), &secret("s"));
        assert_eq!(message(verifier.verify(&other)), "invalid signature");
        assert_eq!(message(verifier.verify("x.y.z")), "jwt malformed");
        assert_eq!(message(verifier.verify("")), "jwt malformed");
        let only_512 = AuthConfig { algorithms: vec!["HS512".into()], ..AuthConfig::default() };
        let token = mint(&secret("s"), json!({"id": 1}).as_object().unwrap()).unwrap();
        assert_eq!(message(Verifier::new(&only_512, &secret("s")).verify(&token)), "invalid algorithm");
    }
}
