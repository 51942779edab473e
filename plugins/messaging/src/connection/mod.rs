//! The connection of one client, from its handshake to its end, regardless of the transport: it may begin with polling
//! and continue over a WebSocket.
//!
//! Frames for a client wait in its [`write_queue`] until one of the [`writers`] writes them or a [`poll`] takes them.
//! The library sees every connection as the [`stream`] of one WebSocket.

mod byte_stream;
mod client_frames;
mod connect_error;
mod core;
mod frame;
mod library;
mod lifecycle;
mod moment;
mod namespace_query;
mod ordering;
mod pace;
mod poll;
mod polling;
mod protocol;
mod queued;
mod settings;
mod stream;
#[cfg(test)]
mod tests;
mod tls_stream;
mod unauthenticated;
mod write;
mod write_queue;
mod writers;

pub(crate) use byte_stream::ByteStream;
pub(crate) use connect_error::ConnectError;
pub(crate) use core::{CLOSE_GRACE_PERIOD, Connection};
pub(crate) use frame::{binary_frame, client_frame, first_frame, text_frame};
pub(crate) use lifecycle::ConnectionObserver;
pub(crate) use moment::Moment;
pub(crate) use ordering::{Handover, LastMark, MARK, Offered};
pub(crate) use polling::{DescriptorPermit, Polled, Polling};
pub(crate) use protocol::Protocol;
pub(crate) use queued::{MessageRef, QueuedDelivery};
pub(crate) use settings::Settings;
pub(crate) use stream::{Source, Stream};
pub(crate) use unauthenticated::{Admission, TooMany, UnauthenticatedLimit};
pub(crate) use writers::Writers;
