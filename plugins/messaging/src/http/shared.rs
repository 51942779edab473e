//! What the handlers of all routes share: reading requests, and refusing them.

use crate::cluster::Unreached;
use crate::emitter::{EmitError, To};
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

/// How many rooms a request may name. To reach more users, publish to a room that they share.
pub(super) const ROOMS_MAX: usize = 1000;

/// Whether the other nodes were reached.
#[derive(Serialize, ToSchema)]
pub(super) struct Reached {
    /// Whether the other nodes were reached. Also true if there are none.
    reached: bool,
    /// Why not. Omitted if they were reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    why: Option<String>,
}

impl Reached {
    pub(super) fn new(outcome: Result<(), Unreached>) -> Self {
        Self { reached: outcome.is_ok(), why: outcome.err().map(|why| why.to_string()) }
    }
}

/// The response to a refused request.
#[derive(Serialize, ToSchema)]
pub(super) struct Failure {
    /// What is wrong and, if possible, what was expected.
    pub(super) error: String,
}

/// Why a request is refused.
pub(super) struct Refusal(pub(super) StatusCode, pub(super) String);

impl Refusal {
    pub(super) fn bad(why: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, why.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(Failure { error: self.1 })).into_response()
    }
}

impl From<EmitError> for Refusal {
    fn from(error: EmitError) -> Self {
        match error {
            EmitError::Reserved(_) => Self(StatusCode::BAD_REQUEST, format!("`event`: {error}")),
            EmitError::UnknownNamespace(_) => Self(StatusCode::NOT_FOUND, format!("`namespace`: {error}")),
            EmitError::NotRevoked => Self(StatusCode::NOT_FOUND, error.to_string()),
            EmitError::NotRunning
            | EmitError::Unreached(_)
            | EmitError::TooManyRevocations(_)
            | EmitError::NotDurable(_) => Self(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        }
    }
}

/// Parses a JSON body. `what` describes the expected body in errors.
pub(super) fn read<T: DeserializeOwned>(body: Result<Bytes, BytesRejection>, what: &str) -> Result<T, Refusal> {
    let too_long = |e: BytesRejection| {
        Refusal(e.status(), format!("{}; plugins.messaging.max_payload limits the body", e.body_text()))
    };
    let body = body.map_err(too_long)?;
    let mut json = serde_json::Deserializer::from_slice(&body);
    let value = serde_path_to_error::deserialize(&mut json)
        .map_err(|e| Refusal::bad(format!("the body is not {what}: `{}`: {}", e.path(), e.inner())))?;
    json.end().map_err(|e| Refusal::bad(format!("the body contains more than {what}: {e}")))?;
    Ok(value)
}

pub(super) fn bad_query(error: QueryRejection) -> Refusal {
    Refusal(error.status(), error.body_text())
}

/// The target of a request.
pub(super) fn to<'a>(namespace: &'a str, rooms: &'a [String], except: &'a [String]) -> Result<To<'a>, Refusal> {
    limit("rooms", rooms)?;
    limit("except", except)?;
    Ok(To { namespace, rooms, except })
}

pub(super) fn limit(field: &str, rooms: &[String]) -> Result<(), Refusal> {
    match rooms.len() {
        0..=ROOMS_MAX => Ok(()),
        count => Err(Refusal::bad(format!("`{field}` has {count} rooms: expected at most {ROOMS_MAX}"))),
    }
}

pub(super) fn root() -> String {
    "/".into()
}

pub(super) fn yes() -> bool {
    true
}
