//! What is remembered of a token while its client is connected.

use super::claim::{seconds, text};
use super::rejection::Rejection;
use serde_json::{Map, Value};
use std::time::Duration;

/// How far the clocks of issuers and nodes differ, at most.
pub(crate) const CLOCK_DIFFERENCE_MAX: Duration = Duration::from_secs(3600);

/// An accepted token. Times are in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AcceptedToken {
    /// From this time on, the token is refused. `None`: it never expires.
    pub(crate) ends: Option<u64>,
    /// The claim `iat`. `None` if it is missing or wrong.
    pub(crate) issued: Option<u64>,
    /// The claim `jti`: the token's id.
    pub(crate) jti: Option<Box<str>>,
    /// The claim `sid` of OpenID Connect: the session that the user began by logging in.
    pub(crate) sid: Option<Box<str>>,
}

/// How long tokens live.
#[derive(Debug, Clone)]
pub(super) struct TokenLife {
    leeway: Duration,
    /// From the time of issue. `None`: any time.
    max: Option<Duration>,
}

impl AcceptedToken {
    /// A token of which there is nothing to remember.
    pub(crate) const EMPTY: Self = Self { ends: None, issued: None, jti: None, sid: None };

    pub(super) fn new(claims: &Map<String, Value>, life: &TokenLife, now: f64) -> Self {
        let exp = claims.get("exp").and_then(|exp| seconds(exp, f64::ceil));
        let issued = issued(claims, now);
        let text = |claim: &str| claims.get(claim).and_then(text).map(String::into_boxed_str);
        let ends = exp.into_iter().chain(life.end(issued)).min();
        let ends = ends.map(|end| end.saturating_add(life.leeway.as_secs()));
        Self { ends, issued, jti: text("jti"), sid: text("sid") }
    }

    /// Boxed, because most sockets of a deployment may have nothing to remember.
    pub(crate) fn boxed(self) -> Option<Box<Self>> {
        (self != Self::EMPTY).then(|| Box::new(self))
    }
}

impl TokenLife {
    pub(super) fn new(leeway: Duration, max: Option<Duration>) -> Self {
        Self { leeway, max }
    }

    fn end(&self, issued: Option<u64>) -> Option<u64> {
        Some(issued?.saturating_add(self.max?.as_secs()))
    }

    /// Checks the age of a token with these claims at `now`, in seconds since 1970, in the words of Node's jsonwebtoken.
    pub(super) fn check(&self, claims: &Map<String, Value>, now: f64) -> Result<(), Rejection> {
        match (self.max, self.end(issued(claims, now))) {
            (None, _) => Ok(()),
            (Some(_), None) => Err(Rejection::NO_AGE),
            (Some(_), Some(end)) if end.saturating_add(self.leeway.as_secs()) as f64 <= now => Err(Rejection::TOO_OLD),
            _ => Ok(()),
        }
    }
}

/// When the token was issued. Rounded down, so that a revocation covers it in case of doubt. A time in the future, such
/// as one in milliseconds, is wrong: no revocation would cover the token, and it would never be too old.
fn issued(claims: &Map<String, Value>, now: f64) -> Option<u64> {
    let issued = claims.get("iat").and_then(|iat| seconds(iat, f64::floor))?;
    (issued as f64 <= now + CLOCK_DIFFERENCE_MAX.as_secs_f64()).then_some(issued)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn life(max: Option<u64>, leeway: u64) -> TokenLife {
        TokenLife { leeway: Duration::from_secs(leeway), max: max.map(Duration::from_secs) }
    }

    const NOW: u64 = 1 << 51;

    fn accepted(claims: Value, life: &TokenLife) -> AcceptedToken {
        AcceptedToken::new(claims.as_object().unwrap(), life, NOW as f64)
    }

    #[test]
    fn a_token_ends_when_it_expires_or_is_too_old() {
        let ends = |claims: Value, max, leeway| accepted(claims, &life(max, leeway)).ends;
        assert_eq!(ends(json!({}), None, 5), None);
        assert_eq!(ends(json!({"iat": 10}), None, 5), None);
        assert_eq!(ends(json!({"exp": 100}), None, 5), Some(105));
        assert_eq!(ends(json!({"exp": 100.1}), None, 0), Some(101));
        assert_eq!(ends(json!({"exp": 100, "iat": 10.9}), Some(60), 0), Some(70));
        assert_eq!(ends(json!({"exp": 100, "iat": 90}), Some(60), 0), Some(100));
        assert_eq!(ends(json!({"exp": u64::MAX, "iat": 1}), Some(u64::MAX), u64::MAX), Some(u64::MAX));
        assert_eq!(ends(json!({"exp": 1e300}), None, 0), Some(u64::MAX));
        assert_eq!(ends(json!({"exp": -1}), None, 0), Some(0));
    }

    #[test]
    fn with_a_maximum_age_a_token_must_say_its_age() {
        let check = |claims: Value, max, now: u64| life(max, 1).check(claims.as_object().unwrap(), now as f64);
        assert_eq!(check(json!({}), None, 1_000), Ok(()));
        assert_eq!(check(json!({}), Some(60), 1_000), Err(Rejection::NO_AGE));
        assert_eq!(check(json!({"iat": "x"}), Some(60), 1_000), Err(Rejection::NO_AGE));
        assert_eq!(check(json!({"iat": 940}), Some(60), 1_000), Ok(()));
        assert_eq!(check(json!({"iat": 939}), Some(60), 1_000), Err(Rejection::TOO_OLD));
        assert_eq!(check(json!({"iat": 1_000 + 3600}), Some(60), 1_000), Ok(()));
        assert_eq!(check(json!({"iat": 1_000 + 3601}), Some(60), 1_000), Err(Rejection::NO_AGE));
        assert_eq!(check(json!({"iat": u64::MAX}), Some(60), 1_000), Err(Rejection::NO_AGE));
    }

    #[test]
    fn a_token_from_the_future_does_not_say_when_it_was_issued() {
        let issued = |iat: u64| accepted(json!({"iat": iat}), &life(None, 0)).issued;
        assert_eq!([NOW, NOW + 3600, NOW + 3601, NOW * 1000].map(issued), [Some(NOW), Some(NOW + 3600), None, None]);
    }

    #[test]
    fn the_ids_are_remembered_as_text() {
        let token = accepted(json!({"jti": 7, "sid": "s", "iat": 1.5}), &life(None, 0));
        assert_eq!((token.jti.as_deref(), token.sid.as_deref(), token.issued), (Some("7"), Some("s"), Some(1)));
        assert!(accepted(json!({"jti": "", "sid": null, "iat": "x"}), &life(None, 0)).boxed().is_none());
    }

    proptest! {
        /// Whatever the times are, a token is refused because of its age from its end on, and not before.
        #[test]
        fn a_token_that_is_remembered_ends_when_it_would_be_refused(issued in 0..1_u64 << 50, max in 0..1_u64 << 50, leeway in 0..1_u64 << 50) {
            let (claims, life) = (json!({"iat": issued}), life(Some(max), leeway));
            let ends = accepted(claims.clone(), &life).ends.unwrap();
            let check = |now: u64| life.check(claims.as_object().unwrap(), now as f64);
            prop_assert_eq!(check(ends), Err(Rejection::TOO_OLD));
            prop_assert!(ends == 0 || check(ends - 1).is_ok());
        }
    }
}
