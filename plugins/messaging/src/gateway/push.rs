//! Handles an event that a client pushes: records it, and acknowledges it once its row is durable.

use super::acks::{self, NO_ARGUMENTS};
use super::clients::{Clients, Socket};
use super::in_order::in_order;
use super::pushed_event::{Arrived, Push};
use super::room_requests::{Answer, RoomRequest};
use crate::event_names::RESERVED;
use crate::metrics as names;
use crate::namespace::{AckAfter, Namespace, SendAck, Session};
use crate::rows::{PushOutcome, PushRow, numbered};
use greyhound_sdk::Share;
use metrics::counter;
use socketioxide::extract::AckSender;
use std::sync::Arc;

impl Clients {
    pub(super) fn pushed(
        self: &Arc<Self>,
        socket: &Socket,
        session: &Arc<Session>,
        push: Push,
        ack: AckSender<Namespace>,
    ) {
        if RESERVED.contains(&push.event.as_str()) {
            // As in Node's parser.
            session.set_close_reason("parse error");
            session.connection().abort();
            return;
        }
        if !self.has_to_wait(session, |it| it.asks_about(&push.event) && session.user().name().is_some()) {
            return self.arrived(Arrived { socket, session, push: &push, ack, refusal: None });
        }
        let (this, socket, its) = (self.clone(), socket.clone(), session.clone());
        in_order(session, push.size, async move {
            let refusal = this.refusal(&its, &push.event, &push.data).await;
            this.arrived(Arrived { socket: &socket, session: &its, push: &push, ack, refusal });
        });
    }

    fn arrived(&self, arrived: Arrived<'_>) {
        let Arrived { socket, session, push, .. } = arrived;
        let Some(user) = session.user().name() else {
            counter!(names::IGNORED).increment(1);
            return;
        };
        let Some(namespace) = self.namespaces.get(socket.ns()) else { return };
        match RoomRequest::of(push, session, &namespace) {
            Some(request) => self.change_room(request, &namespace, arrived),
            None => self.record_push(&user, arrived),
        }
    }

    fn record_push(&self, user: &str, arrived: Arrived<'_>) {
        let Arrived { socket, session, push, ack, refusal } = arrived;
        counter!(names::PUSHES).increment(1);
        let row = PushRow {
            connection_seq: session.connection_seq,
            user_id: user,
            namespace: socket.ns(),
            event: &push.event,
            size_bytes: push.size as i64,
            data: self.record_data.then_some(push.data.as_str()),
            outcome: if refusal.is_none() { PushOutcome::Accepted } else { PushOutcome::Refused },
            reason: refusal.as_deref(),
        };
        // The row is published here, in the order of the client's events. Only the acknowledgement waits for the disk.
        let offered = self.topics.push.offer_from(Share::User(user), push.size, &row);
        match offered {
            Ok(seq) if push.wants_ack => {
                let send: SendAck = match refusal {
                    None => Box::new(move || ack.send(&NO_ARGUMENTS).is_ok()),
                    Some(why) => Box::new(move || ack.send(&Answer::refused(why)).is_ok()),
                };
                acks::enqueue(session, AckAfter::Durable(seq), send, &self.topics);
            }
            offered => drop(numbered(offered)),
        }
    }
}
