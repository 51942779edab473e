//! Greyhound, an event bus. [`cli::main`] makes a program of a list of plugins.

mod api;
pub mod bus;
pub mod cli;
mod config;
mod host;
pub mod log;
mod workers;

pub use greyhound_activity as activity;
pub use greyhound_messaging as messaging;
pub use host::{Host, HostBuilder};
