//! Verifies tokens. Refusals are worded as in socketio-jwt 4.x, because clients rely on its words.

use super::rooms::InvalidClaims;
use super::{AuthConfig, NotASite, RoomClaims, Secret, normal_site};
use crate::msgpack::javascript;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Serialize;
use serde_json::{Map, Value};

/// Verifies tokens.
pub(crate) struct Verifier {
    key: DecodingKey,
    validation: Validation,
    /// `validation` without `exp` and `nbf`.
    timeless: Validation,
    user_claim: String,
    site_claim: String,
    rooms_claim: String,
    join_claim: String,
}

/// What a valid token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The user's id.
    pub(crate) user: String,
    pub(crate) site: Option<String>,
    pub(crate) rooms: RoomClaims,
    /// All claims of the token.
    pub(crate) claims: Map<String, Value>,
}

/// Why a token was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejection {
    /// The message to the client.
    pub(crate) message: &'static str,
    pub(crate) expired: bool,
    /// The user that the token names, if its signature is valid.
    pub(crate) claimed: Option<String>,
}

/// The payload of `unauthorized`.
#[derive(Serialize)]
pub(crate) struct Unauthorized {
    message: &'static str,
    inner: Inner,
    /// A refused handshake returns this part only.
    pub(crate) data: Data,
}

#[derive(Serialize)]
struct Inner {
    message: &'static str,
}

#[derive(Serialize)]
pub(crate) struct Data {
    message: &'static str,
    code: &'static str,
    r#type: &'static str,
}

impl Rejection {
    /// The token is missing or not a string.
    pub(crate) const NOT_A_TEXT: Self = Self::new("invalid token datatype");
    /// The server is shutting down.
    pub(crate) const STOPPING: Self = Self::new("server shutting down");
    /// Too many of the client's tokens were refused.
    pub(crate) const TOO_MANY: Self = Self::new("too many refusals");
    const NO_USER: Self = Self::new("jwt has no user id");
    const INVALID_SITE: Self = Self::new("jwt has an invalid site");
    const INVALID_ROOMS: Self = Self::new("jwt has invalid rooms");

    const fn new(message: &'static str) -> Self {
        Self { message, expired: false, claimed: None }
    }

    /// The payload of `unauthorized`.
    pub(crate) fn payload(&self) -> Unauthorized {
        let message = self.message;
        Unauthorized {
            message,
            inner: Inner { message },
            data: Data { message, code: "invalid_token", r#type: "UnauthorizedError" },
        }
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
        // As in Node's jsonwebtoken: no leeway, `exp` and `nbf` are checked if present, the audience is not.
        validation.leeway = 0;
        validation.required_spec_claims.clear();
        validation.validate_nbf = true;
        validation.validate_aud = false;
        let mut timeless = validation.clone();
        (timeless.validate_exp, timeless.validate_nbf) = (false, false);
        let key = DecodingKey::from_secret(secret.bytes());
        Self {
            key,
            validation,
            timeless,
            user_claim: config.user_claim.clone(),
            site_claim: config.site_claim.clone(),
            rooms_claim: config.rooms_claim.clone(),
            join_claim: config.join_claim.clone(),
        }
    }

    pub(crate) fn verify(&self, token: &str) -> Result<Identity, Rejection> {
        let claims = self.claims(token, &self.validation).map_err(|e| self.rejection(token, e.kind()))?;
        let user = self.user(&claims).ok_or(Rejection::NO_USER)?;
        let invalid = |rejection| Rejection { claimed: Some(user.clone()), ..rejection };
        let site = site(claims.get(&self.site_claim)).map_err(|_| invalid(Rejection::INVALID_SITE))?;
        let rooms = RoomClaims::read(&claims, &self.rooms_claim, &self.join_claim)
            .map_err(|InvalidClaims| invalid(Rejection::INVALID_ROOMS))?;
        Ok(Identity { user, site, rooms, claims })
    }

    fn claims(&self, token: &str, validation: &Validation) -> Result<Map<String, Value>, jsonwebtoken::errors::Error> {
        Ok(decode(token, &self.key, validation)?.claims)
    }

    fn user(&self, claims: &Map<String, Value>) -> Option<String> {
        [self.user_claim.as_str(), "sub"].iter().find_map(|claim| text(claims.get(*claim)?))
    }

    fn rejection(&self, token: &str, error: &ErrorKind) -> Rejection {
        match error {
            ErrorKind::ExpiredSignature => Rejection { expired: true, ..self.untimely(token, "jwt expired") },
            ErrorKind::ImmatureSignature => self.untimely(token, "jwt not active"),
            ErrorKind::InvalidSignature => Rejection::new("invalid signature"),
            ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => Rejection::new("invalid algorithm"),
            _ => Rejection::new("jwt malformed"),
        }
    }

    /// A rejection that names the user. The signature is valid, so the claim can be trusted.
    fn untimely(&self, token: &str, message: &'static str) -> Rejection {
        let claimed = self.claims(token, &self.timeless).ok().and_then(|claims| self.user(&claims));
        Rejection { claimed, ..Rejection::new(message) }
    }
}

/// A claim that is a string or a number. Numbers are written as in JavaScript, so that Node's servers use the same
/// rooms.
fn text(claim: &Value) -> Option<String> {
    match claim {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => number.as_f64().map(javascript),
        _ => None,
    }
}

/// The site that a claim names, in its normal form. A claim that is there and names none is an error, because the site
/// would otherwise come from the Origin header.
fn site(claim: Option<&Value>) -> Result<Option<String>, NotASite> {
    match claim {
        None | Some(Value::Null) => Ok(None),
        Some(claim) => normal_site(&text(claim).ok_or(NotASite::NoHost)?).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::mint;
    use serde_json::json;
    use std::path::Path;

    fn secret(text: &str) -> Secret {
        Secret::find_or_make(&AuthConfig { secret: Some(text.into()), ..AuthConfig::default() }, Path::new("/"))
            .unwrap()
    }

    fn verify(claims: Value) -> Result<Identity, Rejection> {
        let secret = secret("s");
        let token = mint(&secret, claims.as_object().unwrap()).unwrap();
        Verifier::new(&AuthConfig::default(), &secret).verify(&token)
    }

    #[test]
    fn the_user_is_the_claim_or_else_the_subject() {
        let user = |claims| verify(claims).map(|i| i.user);
        assert_eq!(user(json!({"id": 1})), Ok("1".into()));
        assert_eq!(user(json!({"id": "a", "sub": "b"})), Ok("a".into()));
        assert_eq!(user(json!({"sub": "b"})), Ok("b".into()));
        assert_eq!(user(json!({"id": null, "sub": 7})), Ok("7".into()));
        assert_eq!(user(json!({"name": "x"})), Err(Rejection::NO_USER));
        let identity = verify(json!({"id": 1, "site": "example.com", "jti": "a"})).unwrap();
        assert_eq!(identity.site.as_deref(), Some("example.com"));
        assert_eq!(Value::Object(identity.claims), json!({"id": 1, "site": "example.com", "jti": "a"}));
    }

    #[test]
    fn the_site_has_its_normal_form_or_is_refused() {
        let site = |claim: Value| verify(json!({"id": 1, "site": claim})).map(|identity| identity.site);
        for (claim, expected) in
            [("EXAMPLE.com.", "example.com"), ("bücher.example", "xn--bcher-kva.example"), ("tenant-7", "tenant-7")]
        {
            assert_eq!(site(claim.into()), Ok(Some(expected.to_owned())), "{claim}");
        }
        assert_eq!((site(7.into()), site(Value::Null)), (Ok(Some("7".into())), Ok(None)));
        for claim in [
            json!("https://example.com"),
            json!("example.com:8443"),
            json!(""),
            json!({}),
            json!(["example.com"]),
            json!(true),
        ] {
            assert_eq!(site(claim.clone()).unwrap_err().message, "jwt has an invalid site", "{claim}");
        }
    }

    #[test]
    fn numbers_are_written_as_in_javascript() {
        // Node's `${JSON.parse(left)}` is the right-hand side.
        for (claim, user) in [
            ("42.0", "42"),
            ("-0.0", "0"),
            ("4.2e1", "42"),
            ("0.1", "0.1"),
            ("9007199254740993", "9007199254740992"),
            ("18446744073709551615", "18446744073709552000"),
            ("-9223372036854775807", "-9223372036854776000"),
            ("123456789012345678901234", "1.2345678901234569e+23"),
            ("1e21", "1e+21"),
            ("1e-7", "1e-7"),
        ] {
            let claims = json!({"id": serde_json::from_str::<Value>(claim).unwrap()});
            assert_eq!(verify(claims).map(|identity| identity.user), Ok(user.to_owned()), "{claim}");
        }
    }

    #[test]
    fn an_untimely_token_still_names_its_user() {
        let claimed = |claims| verify(claims).unwrap_err().claimed;
        assert_eq!(claimed(json!({"id": 7, "exp": 1})).as_deref(), Some("7"));
        assert_eq!(claimed(json!({"sub": "a", "exp": 1, "nbf": 4_000_000_000_u64})).as_deref(), Some("a"));
        assert_eq!(claimed(json!({"id": 7, "nbf": 4_000_000_000_u64})).as_deref(), Some("7"));
        assert_eq!(claimed(json!({"exp": 1})), None);
        let forged = mint(&secret("other"), json!({"id": 7, "exp": 1}).as_object().unwrap()).unwrap();
        assert_eq!(Verifier::new(&AuthConfig::default(), &secret("s")).verify(&forged).unwrap_err().claimed, None);
    }

    #[test]
    fn refusals_are_worded_as_in_socketio_jwt() {
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
