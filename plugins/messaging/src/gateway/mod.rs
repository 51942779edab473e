//! The gateway: TCP connections, socket.io sessions, and what clients send.

mod acks;
mod guard;
mod handlers;
mod handshake;
mod link;
mod listener;
mod mend;
mod push;
mod service;
mod session;

pub(crate) use handlers::Handlers;
pub(crate) use link::Links;
pub(crate) use listener::{FAREWELL, Listener};
pub(crate) use service::service;
pub(crate) use session::Session;
