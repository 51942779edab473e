//! The gateway: TCP connections, socket.io sessions, and what clients send.

mod acks;
mod admission;
mod connect_error;
mod engine;
mod frame;
mod handlers;
mod handshake;
mod library;
mod link;
mod links;
mod listener;
mod moment;
mod outbox;
mod protocol;
mod push;
mod queries;
mod service;
mod session;
mod stream;

pub(crate) use frame::{binary_frame, text_frame};
pub(crate) use handlers::Handlers;
pub(crate) use library::MARK;
pub(crate) use link::FAREWELL;
pub(crate) use links::Links;
pub(crate) use listener::Listener;
pub(crate) use moment::Moment;
pub(crate) use service::service;
pub(crate) use session::Session;
