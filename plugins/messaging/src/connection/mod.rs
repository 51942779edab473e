//! The connection of one client, from its handshake to its end, over whatever transports: it may begin with polling and
//! go on over a WebSocket.
//!
//! What is sent to a client waits in its [`write_queue`] until one of the [`writers`] writes it, or a [`poll`] takes it.
//! To the library every connection is one WebSocket: a [`stream`] of its own.

mod connect_error;
mod core;
mod end;
mod frame;
mod library;
mod moment;
mod namespace_query;
mod ordering;
mod poll;
mod polling;
mod protocol;
mod queued;
mod settings;
mod stream;
#[cfg(test)]
mod tests;
mod unproven;
mod write;
mod write_queue;
mod writers;

pub(crate) use connect_error::Refused;
pub(crate) use core::{Connection, FAREWELL};
pub(crate) use end::Passenger;
pub(crate) use frame::{binary_frame, client_frame, first_frame, text_frame};
pub(crate) use moment::Moment;
pub(crate) use ordering::{LastMark, MARK, Offered, Passage};
pub(crate) use polling::{Polled, Polling, Slot};
pub(crate) use protocol::Protocol;
pub(crate) use queued::{MessageRef, QueuedDelivery};
pub(crate) use settings::Settings;
pub(crate) use stream::{Source, Stream};
pub(crate) use unproven::{Admission, TooMany, Unproven};
pub(crate) use writers::Writers;
