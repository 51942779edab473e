//! The front of the gateway: TCP connections, requests, and what clients send.

mod admission;
mod authentication;
mod clients;
mod credentials;
mod engine;
mod handshake;
mod listener;
mod push;
mod push_acks;
mod pushed_event;
mod service;
mod shutdown;

pub(crate) use clients::Clients;
pub(crate) use listener::Listener;
pub(crate) use service::service;
