//! Asks an HTTP endpoint of the team's what no claim says: whether a client may connect, and whether it may push an event.

mod check;
mod config;
mod endpoint;
mod question;

pub(crate) use check::check;
pub use config::{AuthorizationConfig, OnFailure};
pub(crate) use endpoint::Authorization;
pub(crate) use question::{Decision, Question};
