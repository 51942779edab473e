//! Sends one message to the members of a roster.
//!
//! The event is encoded once per protocol, and the frames are queued for each connection. If they would overtake an
//! earlier event to a socket, that socket gets the event through the library.

use super::namespaces::Namespace;
use super::roster::Roster;
use super::session::Session;
use crate::connection::{MessageRef, Offered, Writers};
use crate::event::Event;
use crate::rows::DeliveryOutcome;
use futures_util::FutureExt;
use futures_util::stream::{Peekable, SelectAll, StreamExt};
use socketioxide::AckError;
use socketioxide::adapter::Emitter;
use socketioxide_core::adapter::{BroadcastOptions, CoreLocalAdapter, SocketEmitter};
use socketioxide_core::packet::Packet;
use std::pin::Pin;
use std::time::Duration;

/// The acknowledgements from one broadcast of the library.
type Ack = <Emitter as SocketEmitter>::AckStream;
/// The clients' acknowledgements, as they arrive.
pub(crate) type AckStream = SelectAll<Peekable<Pin<Box<Ack>>>>;

/// The outcomes of a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// One outcome for all recipients.
    Alike(DeliveryOutcome),
    /// One outcome per recipient, in the order of the roster.
    Each(Vec<DeliveryOutcome>),
}

impl Namespace {
    /// Sends an event to the members of `roster`. The caller keeps the rooms locked, so that nobody joins or leaves
    /// meanwhile.
    pub(crate) fn send(
        &self,
        event: &Event,
        roster: &Roster,
        volatile: bool,
        message: MessageRef,
        writers: &Writers,
    ) -> Sent {
        let Some(any) = roster.sessions().first() else { return Sent::Alike(DeliveryOutcome::Queued) };
        let frames = event.frames(self.local.path()).counted(|frames| any.connection().count_frames(frames));
        let mut due = Vec::new();
        let mut library = ThroughLibrary { local: &self.local, event, volatile, message, packet: None };
        let sent = Sent::each(roster.sessions().iter().map(|session| {
            match session.offer(frames.of(session.protocol), volatile, message, &mut due) {
                Offered::Queued => DeliveryOutcome::Queued,
                Offered::Full => DeliveryOutcome::Dropped,
                Offered::ViaLibrary => library.send(session),
            }
        }));
        writers.write_to(due);
        sent
    }

    /// Sends an event to the members of `roster`, and waits up to `timeout` for their acknowledgements.
    pub(crate) fn send_with_ack(
        &self,
        event: &Event,
        roster: &Roster,
        message: MessageRef,
        timeout: Duration,
    ) -> (Sent, AckStream) {
        let ((packet, marked), mut acks) = (event.marked_packet(self.local.path()), AckStream::new());
        let sent = Sent::each(roster.sessions().iter().map(|session| {
            let mut outcome = DeliveryOutcome::Dropped;
            session.send_through_library(marked, message, || {
                let (ack, _) =
                    self.local.broadcast_with_ack(packet.clone(), BroadcastOptions::new(session.sid), Some(timeout));
                let mut ack = Box::pin(ack).peekable();
                if was_queued(&mut ack) {
                    outcome = DeliveryOutcome::Queued;
                }
                acks.push(ack);
                outcome == DeliveryOutcome::Queued
            });
            outcome
        }));
        (sent, acks)
    }
}

/// Whether the message was queued. If it was not, its acknowledgement has already failed.
fn was_queued(ack: &mut Peekable<Pin<Box<Ack>>>) -> bool {
    // Unconstrained, because a task without budget would see no result.
    let result = tokio::task::unconstrained(Pin::new(ack).peek()).now_or_never();
    !matches!(result, Some(None | Some((_, Err(AckError::Socket(_))))))
}

/// Sends an event through the library.
struct ThroughLibrary<'a> {
    local: &'a CoreLocalAdapter<Emitter>,
    event: &'a Event,
    volatile: bool,
    message: MessageRef,
    /// The event, and whether it is marked. Encoded when the first socket needs it.
    packet: Option<(Packet, bool)>,
}

impl ThroughLibrary<'_> {
    fn send(&mut self, session: &Session) -> DeliveryOutcome {
        if self.volatile && session.connection().is_behind() {
            return DeliveryOutcome::Dropped;
        }
        let (packet, marked) = self.packet.get_or_insert_with(|| self.event.marked_packet(self.local.path()));
        let mut outcome = DeliveryOutcome::Dropped;
        session.send_through_library(*marked, self.message, || {
            if self.local.broadcast(packet.clone(), BroadcastOptions::new(session.sid)).is_ok() {
                outcome = DeliveryOutcome::Queued;
            }
            outcome == DeliveryOutcome::Queued
        });
        outcome
    }
}

impl Sent {
    fn each(mut outcomes: impl Iterator<Item = DeliveryOutcome>) -> Self {
        let Some(first) = outcomes.next() else { return Self::Alike(DeliveryOutcome::Queued) };
        let mut alike = 1;
        while let Some(outcome) = outcomes.next() {
            if outcome != first {
                let before = std::iter::repeat_n(first, alike);
                return Self::Each(before.chain([outcome]).chain(outcomes).collect());
            }
            alike += 1;
        }
        Self::Alike(first)
    }
}
