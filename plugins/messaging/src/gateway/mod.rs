//! The gateway: TCP connections, socket.io sessions, and what clients send.

mod acks;
mod frame;
mod guard;
mod handlers;
mod handshake;
mod library;
mod link;
mod links;
mod listener;
mod mend;
mod outbox;
mod push;
mod service;
mod session;

pub(crate) use frame::text_frame;
pub(crate) use handlers::Handlers;
pub(crate) use library::MARK;
pub(crate) use links::Links;
pub(crate) use listener::{FAREWELL, Listener};
pub(crate) use service::service;
pub(crate) use session::Session;
