//! Greyhound: an event bus. What a program of one's own stands on: [`host::Host::builder`].

pub mod api;
pub mod bus;
pub mod config;
pub mod host;
pub mod log;
