//! This node as a member of a cluster of socket.io servers, in any language, that share a Redis.
//!
//! ```text
//!  Redis ──▶ inbox ──▶ messages ──▶ delivery: sockets and rows
//!                  ├─▶ requests ──▶ answers ──▶ publish queue
//!                  └─▶ answers  ──▶ pending requests
//!  emitter, HTTP ──▶ publish queue ──▶ Redis
//! ```
//!
//! A [`member`] maintains the connection. Without a connection the local part of every operation still works.

mod answer;
mod ask;
mod check;
mod core;
mod inbox;
mod log_limit;
mod member;
mod pending;
mod probe;
pub(crate) mod protocol;
mod publish_queue;
mod reach;
mod revocations;

pub(crate) use answer::{RequestHandler, ServerSideHandler};
pub use ask::{AckReport, Gathered};
pub(crate) use check::check;
pub(crate) use core::Cluster;
pub(crate) use member::Member;
pub(crate) use publish_queue::Published;
pub(crate) use reach::NotReached;
pub use reach::Unreached;
