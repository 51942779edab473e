//! This node as a member of a cluster of socket.io servers that share a Redis, whoever wrote them.
//!
//! ```text
//!  Redis ──▶ inbox ──▶ messages ──▶ the outlet: sockets and rows
//!                  ├─▶ requests ──▶ answers ──▶ outbox
//!                  └─▶ answers  ──▶ whoever asked
//!  emitter, HTTP ──▶ outbox ──▶ Redis
//! ```
//!
//! A [`member`] keeps the connection; while there is none, everything local goes on.

mod answer;
mod ask;
mod check;
mod complaint;
mod core;
mod inbox;
mod member;
mod pending;
mod proof;
pub(crate) mod protocol;
mod publish_queue;
mod reach;

pub(crate) use answer::{Answering, ServerSideHandler};
pub use ask::{AckReport, Gathered};
pub(crate) use check::check;
pub(crate) use core::Cluster;
pub(crate) use member::Member;
pub(crate) use publish_queue::Published;
pub(crate) use reach::NotReached;
pub use reach::Unreached;
