//! The argument of the event `authenticate`.

use serde::Deserialize;
use serde_json::value::RawValue;

/// The argument of the event `authenticate`.
#[derive(Deserialize)]
pub(super) struct Credentials {
    pub(super) token: Box<RawValue>,
}
