//! From a room to its members.
//!
//! Each namespace keeps rooms of its own in place of the library's, so that the rows of a broadcast need no look-up by
//! recipient: the members of a room are a [`roster`], columns that are ready to be used.

mod fanout;
mod interest;
mod namespaces;
mod rooms;
mod roster;
mod session;
mod session_user;

pub(crate) use fanout::{AckStream, Sent};
pub(crate) use interest::Interest;
pub(crate) use namespaces::{Namespace, Namespaces};
pub(crate) use rooms::Rooms;
pub(crate) use roster::Roster;
pub(crate) use session::{Opened, SendAck, Session};
