//! Revokes tokens: `revocations`.

use super::shared::{Reached, Refusal, bad_query, read};
use crate::emitter::Emitter;
use crate::revocation::{Revocation, Subject};
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::response::Json;
use serde::{Deserialize, Serialize};
use std::time::UNIX_EPOCH;
use utoipa::{IntoParams, ToSchema};

/// The longest user id, `jti` or `sid`, in bytes.
const ID_LEN_MAX: usize = 1000;

/// The tokens to revoke: those of a user, one token, those of a session, or all that were issued before some time.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Revoke {
    /// The user's id. Only one of `user`, `jti` and `sid` is allowed.
    #[serde(default)]
    #[schema(nullable = false)]
    user: Option<String>,
    /// The claim `jti` of the token.
    #[serde(default)]
    #[schema(nullable = false)]
    jti: Option<String>,
    /// The claim `sid` of the tokens.
    #[serde(default)]
    #[schema(nullable = false)]
    sid: Option<String>,
    /// Revoke only tokens whose `iat` is earlier than this time, in seconds since 1970, or missing. Allowed with `user` or
    /// alone. Default: the current time; alone, it is required.
    #[serde(default)]
    #[schema(nullable = false)]
    issued_before: Option<u64>,
}

/// A revocation to withdraw: that of a user, a token, a session, or, without any parameter, of all tokens.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RevocationQuery {
    /// The user's id.
    #[param(required = false, nullable = false, example = "7")]
    user: Option<String>,
    /// The claim `jti` of the token.
    #[param(required = false, nullable = false)]
    jti: Option<String>,
    /// The claim `sid` of the tokens.
    #[param(required = false, nullable = false)]
    sid: Option<String>,
}

/// The result of a revocation.
#[derive(Serialize, ToSchema)]
pub(super) struct Revoked {
    /// The number of sockets of this node that authenticated with one of the tokens. They are disconnected. The other
    /// nodes do not report theirs.
    local_sockets: usize,
    /// Whether the revocation was stored in Redis and published to the other nodes.
    cluster: Reached,
}

/// The result of a withdrawal.
#[derive(Serialize, ToSchema)]
pub(super) struct Withdrawn {
    /// Whether the withdrawal was stored in Redis and published to the other nodes.
    cluster: Reached,
}

/// The revocations.
#[derive(Serialize, ToSchema)]
pub(super) struct Revocations {
    /// The revocations that this node remembers, the latest first.
    revocations: Vec<Item>,
}

/// A revocation. Without `user`, `jti` and `sid`, it concerns all tokens.
#[derive(Serialize, ToSchema)]
struct Item {
    /// The user's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    user: Option<String>,
    /// The claim `jti` of the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    jti: Option<String>,
    /// The claim `sid` of the tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    sid: Option<String>,
    /// Only tokens issued before this time are revoked, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    issued_before: Option<u64>,
    /// When it was made, in milliseconds since 1970.
    revoked_at: u64,
}

/// Revokes tokens on all nodes.
///
/// Such tokens are refused with `jwt revoked`, and sockets that authenticated with one of them are disconnected. The
/// response is sent once this node has made the revocation durable.
#[utoipa::path(
    post,
    path = "/revocations",
    request_body(content = Revoke, examples(
        ("a user's tokens so far" = (value = json!({ "user": "7" }))),
        ("a token" = (value = json!({ "jti": "b5a1c0e2" }))),
        ("a session" = (value = json!({ "sid": "08a5019c-17e1-4977" }))),
        ("all old tokens" = (value = json!({ "issued_before": 1_767_225_600 })))
    )),
    responses((status = 200, description = "The tokens are revoked.", body = Revoked))
)]
pub(super) async fn revoke(
    State(emitter): State<Emitter>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Revoked>, Refusal> {
    let Revoke { user, jti, sid, issued_before } = read(body, "a revocation")?;
    let subject = subject(user, jti, sid)?;
    check_time(&subject, issued_before)?;
    let changed = emitter.revoke(subject, issued_before, "http").await?;
    Ok(Json(Revoked { local_sockets: changed.here, cluster: Reached::new(changed.cluster) }))
}

/// Withdraws a revocation on all nodes.
///
/// Tokens that it covered are accepted again.
#[utoipa::path(
    delete,
    path = "/revocations",
    params(RevocationQuery),
    responses((status = 200, description = "The revocation is withdrawn.", body = Withdrawn))
)]
pub(super) async fn withdraw(
    State(emitter): State<Emitter>,
    query: Result<Query<RevocationQuery>, QueryRejection>,
) -> Result<Json<Withdrawn>, Refusal> {
    let Query(RevocationQuery { user, jti, sid }) = query.map_err(bad_query)?;
    let changed = emitter.withdraw(subject(user, jti, sid)?, "http").await?;
    Ok(Json(Withdrawn { cluster: Reached::new(changed.cluster) }))
}

/// Lists the revocations that this node remembers.
#[utoipa::path(get, path = "/revocations", responses((status = 200, description = "The revocations.", body = Revocations)))]
pub(super) async fn revocations(State(emitter): State<Emitter>) -> Result<Json<Revocations>, Refusal> {
    Ok(Json(Revocations { revocations: emitter.revocations()?.into_iter().map(Item::from).collect() }))
}

impl From<Revocation> for Item {
    fn from(revocation: Revocation) -> Self {
        let (issued_before, revoked_at) = (revocation.issued_before(), revocation.revoked_at());
        let nothing = Self { user: None, jti: None, sid: None, issued_before, revoked_at };
        match revocation.subject {
            Subject::User(user) => Self { user: Some(user), ..nothing },
            Subject::Jti(jti) => Self { jti: Some(jti), ..nothing },
            Subject::Sid(sid) => Self { sid: Some(sid), ..nothing },
            Subject::Everybody => nothing,
        }
    }
}

fn subject(user: Option<String>, jti: Option<String>, sid: Option<String>) -> Result<Subject, Refusal> {
    match (user, jti, sid) {
        (Some(user), None, None) => Ok(Subject::User(id("user", user)?)),
        (None, Some(jti), None) => Ok(Subject::Jti(id("jti", jti)?)),
        (None, None, Some(sid)) => Ok(Subject::Sid(id("sid", sid)?)),
        (None, None, None) => Ok(Subject::Everybody),
        _ => Err(Refusal::bad("expected only one of `user`, `jti` and `sid`")),
    }
}

fn id(field: &str, id: String) -> Result<String, Refusal> {
    match id.len() {
        // Tokens are not stored.
        _ if id.starts_with("eyJ") && id.matches('.').count() == 2 => {
            Err(Refusal::bad(format!("`{field}` is a whole token: expected the claim of the token")))
        }
        1..=ID_LEN_MAX => Ok(id),
        len => Err(Refusal::bad(format!("`{field}` has {len} bytes: expected 1 to {ID_LEN_MAX}"))),
    }
}

fn check_time(subject: &Subject, issued_before: Option<u64>) -> Result<(), Refusal> {
    let now = UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
    let why = match (subject, issued_before) {
        (Subject::Everybody, None) => {
            "is missing: to revoke all tokens that were issued so far, set it to the current time"
        }
        (Subject::Jti(_) | Subject::Sid(_), Some(_)) => "is not allowed together with `jti` or `sid`",
        (_, Some(0)) => "is 0: expected seconds since 1970",
        (_, Some(time)) if time > now => "is in the future: expected seconds since 1970, not milliseconds",
        _ => return Ok(()),
    };
    Err(Refusal::bad(format!("`issued_before` {why}")))
}
