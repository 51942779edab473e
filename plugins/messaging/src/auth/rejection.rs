//! Refused tokens. They are worded as in socketio-jwt 4.x and Node's jsonwebtoken, because clients rely on the words.

use serde::Serialize;
use std::borrow::Cow;

/// Why a token was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejection {
    /// The message to the client.
    pub(crate) message: Cow<'static, str>,
    pub(crate) kind: Refused,
    pub(super) code: &'static str,
    /// The user that the token names, if its signature is valid.
    pub(crate) claimed: Option<String>,
}

/// The kinds of refused tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Invalid,
    Expired,
    Revoked,
}

/// The payload of `unauthorized`.
#[derive(Serialize)]
pub(crate) struct Unauthorized<'a> {
    message: &'a str,
    inner: Inner<'a>,
    /// A refused handshake returns this part only.
    pub(crate) data: Data<'a>,
}

#[derive(Serialize)]
struct Inner<'a> {
    message: &'a str,
}

#[derive(Serialize)]
pub(crate) struct Data<'a> {
    message: &'a str,
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
    /// The user has too many authenticated sockets.
    pub(crate) const TOO_MANY_SOCKETS: Self = Self {
        message: Cow::Borrowed("too many connections of this user"),
        kind: Refused::Invalid,
        code: "too_many_connections",
        claimed: None,
    };
    /// The token has expired.
    pub(crate) const EXPIRED: Self = Self::of(Refused::Expired, "jwt expired");
    /// The token is revoked.
    pub(crate) const REVOKED: Self = Self::of(Refused::Revoked, "jwt revoked");
    /// The token was issued too long ago.
    pub(super) const TOO_OLD: Self = Self::of(Refused::Expired, "maxAge exceeded");
    pub(super) const NO_AGE: Self = Self::new("iat required when maxAge is specified");
    pub(super) const TOO_LARGE: Self = Self::new("jwt too large");
    pub(super) const MALFORMED: Self = Self::new("jwt malformed");
    pub(super) const UNREADABLE: Self = Self::new("invalid token");
    pub(super) const UNSIGNED: Self = Self::new("jwt signature is required");
    pub(super) const CRITICAL: Self = Self::new("jwt crit header not supported");
    pub(super) const ALGORITHM: Self = Self::new("invalid algorithm");
    pub(super) const SIGNATURE: Self = Self::new("invalid signature");
    pub(super) const NO_KEY: Self = Self::new("jwt signing key not found");
    pub(super) const NO_USER: Self = Self::new("jwt has no user id");
    pub(super) const INVALID_SITE: Self = Self::new("jwt has an invalid site");
    pub(super) const INVALID_ROOMS: Self = Self::new("jwt has invalid rooms");

    pub(super) const fn new(message: &'static str) -> Self {
        Self::of(Refused::Invalid, message)
    }

    const fn of(kind: Refused, message: &'static str) -> Self {
        Self { message: Cow::Borrowed(message), kind, code: "invalid_token", claimed: None }
    }

    pub(super) fn worded(message: String) -> Self {
        Self { message: Cow::Owned(message), kind: Refused::Invalid, code: "invalid_token", claimed: None }
    }

    /// The rejection of a token that names this user.
    pub(crate) fn of_user(self, user: String) -> Self {
        Self { claimed: Some(user), ..self }
    }

    /// The token is valid, but the user may not connect.
    pub(crate) fn not_authorized(user: &str, reason: String) -> Self {
        Self { claimed: Some(user.to_owned()), code: "not_authorized", ..Self::worded(reason) }
    }

    /// The payload of `unauthorized`.
    pub(crate) fn payload(&self) -> Unauthorized<'_> {
        let message = &*self.message;
        Unauthorized {
            message,
            inner: Inner { message },
            data: Data { message, code: self.code, r#type: "UnauthorizedError" },
        }
    }
}
