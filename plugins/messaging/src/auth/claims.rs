//! The rules for the claims of a token, in the order and in the words of Node's jsonwebtoken.

use super::accepted_token::{AcceptedToken, TokenLife};
use super::config::IssuerConfig;
use super::rejection::Rejection;
use serde_json::{Map, Value};
use std::time::Duration;

/// What the claims of an issuer's tokens must say.
pub(super) struct ClaimRules {
    issuer: Option<String>,
    /// Any of them. Empty: not checked.
    audience: Vec<String>,
    /// In seconds.
    leeway: f64,
    life: TokenLife,
    required: Vec<String>,
}

impl ClaimRules {
    pub(super) fn new(config: &IssuerConfig, max_token_age: Option<Duration>) -> Self {
        Self {
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            leeway: config.leeway.as_secs_f64(),
            life: TokenLife::new(config.leeway, max_token_age),
            required: config.required_claims.clone(),
        }
    }

    /// The `iss` of the tokens. `None`: any.
    pub(super) fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// Checks claims whose signature is valid, at `now`, in seconds since 1970.
    pub(super) fn check(&self, claims: &Map<String, Value>, now: f64) -> Result<(), Rejection> {
        self.check_time(claims, now)?;
        self.check_audience(claims)?;
        if self.issuer.as_ref().is_some_and(|issuer| claims.get("iss").and_then(Value::as_str) != Some(issuer)) {
            return Err(invalid_issuer(self.issuer()));
        }
        match self.required.iter().find(|name| claims.get(*name).is_none_or(Value::is_null)) {
            Some(missing) => Err(Rejection::worded(format!("jwt has no claim {missing}"))),
            None => Ok(()),
        }
    }

    fn check_time(&self, claims: &Map<String, Value>, now: f64) -> Result<(), Rejection> {
        let time = |name: &str, invalid| claims.get(name).map(|time| time.as_f64().ok_or(invalid)).transpose();
        let not_before = time("nbf", Rejection::new("invalid nbf value"))?;
        if not_before.is_some_and(|start| start > now + self.leeway) {
            return Err(Rejection::new("jwt not active"));
        }
        let expires = time("exp", Rejection::new("invalid exp value"))?;
        if expires.is_some_and(|end| now >= end + self.leeway) {
            return Err(Rejection::EXPIRED);
        }
        self.life.check(claims, now)
    }

    /// What is remembered of a token with these claims, accepted at `now`.
    pub(super) fn accepted(&self, claims: &Map<String, Value>, now: f64) -> AcceptedToken {
        AcceptedToken::new(claims, &self.life, now)
    }

    fn check_audience(&self, claims: &Map<String, Value>) -> Result<(), Rejection> {
        let is_meant = |audience: &Value| audience.as_str().is_some_and(|it| self.audience.iter().any(|own| own == it));
        let valid = match claims.get("aud") {
            _ if self.audience.is_empty() => true,
            Some(Value::Array(several)) => several.iter().any(is_meant),
            one => one.is_some_and(is_meant),
        };
        match valid {
            true => Ok(()),
            false => {
                let expected = self.audience.join(" or ");
                Err(Rejection::worded(format!("jwt audience invalid. expected: {expected}")))
            }
        }
    }
}

/// The `iss` is none of the expected ones.
pub(super) fn invalid_issuer<'a>(expected: impl IntoIterator<Item = &'a str>) -> Rejection {
    let expected: Vec<_> = expected.into_iter().collect();
    Rejection::worded(format!("jwt issuer invalid. expected: {}", expected.join(",")))
}
