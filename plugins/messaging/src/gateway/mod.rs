//! The gateway: TCP connections, HTTP requests, and the events of clients.

mod acks;
mod admission;
mod authentication;
mod clients;
mod credentials;
mod endpoint;
mod engine;
mod expiries;
mod handshake;
mod in_order;
mod listener;
mod proxy_header;
mod push;
mod pushed_event;
mod refused_tokens;
mod relief;
mod room_requests;
mod service;
mod shutdown;
mod token_end;
mod unix_socket;

pub(crate) use clients::{Clients, UsedByClients};
pub(crate) use endpoint::Endpoint;
pub(crate) use listener::Listener;
pub(crate) use service::service;
pub(crate) use token_end::TokenWatch;
