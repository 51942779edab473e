//! Namespaces, their rooms, and the sessions in them.
//!
//! Each namespace keeps its own rooms instead of the library's, so that the rows of a broadcast need no look-up per
//! recipient: the members of a room are a [`roster`], the ready-made columns of the rows.

mod event_order;
mod fanout;
mod interest;
mod namespaces;
mod room_rules;
mod rooms;
mod roster;
mod session;
mod session_user;

pub(crate) use event_order::Turn;
pub(crate) use fanout::{AckStream, Sent};
pub(crate) use interest::Interest;
pub(crate) use namespaces::{Namespace, Namespaces};
pub(crate) use room_rules::{JoinRefused, RoomRules};
pub(crate) use rooms::Rooms;
pub(crate) use roster::Roster;
pub(crate) use session::{AckAfter, SendAck, Session, SessionParts};
pub(crate) use session_user::Grant;
