//! What a revocation revokes.

use serde::{Deserialize, Serialize};

/// The tokens that a revocation concerns.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// The tokens of this user.
    User(String),
    /// The token with this claim `jti`.
    Jti(String),
    /// The tokens with this claim `sid`: those of one session of OpenID Connect.
    Sid(String),
    /// All tokens.
    Everybody,
}

/// A revocation, or its withdrawal. Of two for the same subject, the greater one holds: [`Mark`] defines the order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// The tokens that it concerns.
    pub subject: Subject,
    #[serde(flatten)]
    pub(crate) mark: Mark,
}

/// When a revocation was made, and which tokens it covers. A later mark is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// Milliseconds since 1970, by the clock of the node that was told. Greater than that of the subject's mark before.
    pub(crate) at: u64,
    /// Tokens are refused if they were issued before this time, in seconds since 1970. 0 covers no token: the revocation
    /// is withdrawn.
    pub(crate) issued_before: u64,
}

impl Mark {
    /// The value of `issued_before` that covers every token.
    pub(crate) const ALWAYS: u64 = u64::MAX;

    /// Whether it covers a token that was issued at `issued`. A token that does not say when counts as the oldest.
    pub(crate) fn covers(self, issued: Option<u64>) -> bool {
        issued.unwrap_or(0) < self.issued_before
    }
}

impl Revocation {
    /// When it was made, in milliseconds since 1970.
    #[must_use]
    pub fn revoked_at(&self) -> u64 {
        self.mark.at
    }

    /// Tokens are refused only if they were issued before this time, in seconds since 1970. `None`: whenever issued.
    #[must_use]
    pub fn issued_before(&self) -> Option<u64> {
        Some(self.mark.issued_before).filter(|time| *time != Mark::ALWAYS)
    }

    pub(crate) fn is_withdrawn(&self) -> bool {
        self.mark.issued_before == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_covers_tokens_issued_before_and_those_that_do_not_say() {
        let mark = |issued_before| Mark { at: 1, issued_before };
        assert_eq!([None, Some(9), Some(10)].map(|issued| mark(10).covers(issued)), [true, true, false]);
        assert_eq!([None, Some(u64::MAX - 1)].map(|issued| mark(Mark::ALWAYS).covers(issued)), [true, true]);
        assert_eq!([None, Some(0)].map(|issued| mark(0).covers(issued)), [false, false]);
    }
}
