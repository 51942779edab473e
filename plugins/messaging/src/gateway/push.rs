//! Handles an event that a client pushes: records it, and acknowledges it once its row is durable.

use super::acks::{self, NO_ARGUMENTS};
use super::clients::{Clients, Socket};
use super::pushed_event::Push;
use super::room_requests::RoomRequest;
use crate::event::RESERVED;
use crate::metrics as names;
use crate::namespace::{AckAfter, Namespace, Session};
use crate::rows::{PushRow, numbered};
use greyhound_sdk::Share;
use metrics::counter;
use socketioxide::extract::AckSender;
use std::sync::Arc;

impl Clients {
    pub(super) fn pushed(&self, socket: &Socket, session: &Arc<Session>, push: &Push, ack: AckSender<Namespace>) {
        if RESERVED.contains(&push.event.as_str()) {
            // As in Node's parser.
            session.set_close_reason("parse error");
            session.connection().abort();
            return;
        }
        let Some(user) = session.user().name() else {
            counter!(names::IGNORED).increment(1);
            return;
        };
        let Some(namespace) = self.namespaces.get(socket.ns()) else { return };
        if let Some(request) = RoomRequest::of(push, session, &namespace) {
            return self.change_room(request, (socket, &namespace), session, push, ack);
        }
        counter!(names::PUSHES).increment(1);
        let row = PushRow {
            connection_seq: session.connection_seq,
            user_id: &user,
            namespace: socket.ns(),
            event: &push.event,
            size_bytes: push.size as i64,
            data: self.record_data.then_some(push.data.as_str()),
        };
        // The row is published here, in the order of the client's events. Only the acknowledgement waits for the disk.
        let offered = self.topics.push.offer_from(Share::User(&user), push.size, &row);
        match offered {
            Ok(seq) if push.wants_ack => {
                let send = Box::new(move || ack.send(&NO_ARGUMENTS).is_ok());
                acks::enqueue(session, AckAfter::Durable(seq), send, &self.topics);
            }
            offered => drop(numbered(offered)),
        }
    }
}
