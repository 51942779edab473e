//! What a client authenticates with.

use serde::Deserialize;
use serde_json::value::RawValue;

/// What `authenticate` is sent with.
#[derive(Deserialize)]
pub(super) struct Credentials {
    pub(super) token: Box<RawValue>,
}
