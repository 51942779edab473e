//! The admin listener: health, metrics, topics, consumers, draining, and the plugins' own routes.

mod auth;
mod body;
mod consumers;
mod drain;
mod health;
mod listener;
pub(crate) mod metrics;
mod refusal;
mod rows;
mod state;
mod topics;

pub use listener::BindError;
pub(crate) use listener::Listener;
pub(crate) use state::ApiState;
