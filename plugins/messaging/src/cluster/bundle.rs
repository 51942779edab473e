//! Messages to the same sockets, one after another, that are sent together.

use super::protocol::{Message, Target};
use crate::event::Event;
use crate::fanout::Fanout;
use crate::outlet::{Outlet, Source};
use std::sync::Arc;

/// What waits to be sent to the members of a target.
pub(super) struct Bundle {
    fanout: Arc<Fanout>,
    namespace: String,
    target: Target,
    /// How many members there are, at most.
    members: usize,
    messages: Vec<(Event, Origin)>,
}

/// Where a message comes from.
struct Origin {
    source: &'static str,
    publisher: Option<String>,
    row: Option<String>,
    digest: Option<i64>,
}

impl Bundle {
    pub(super) fn new(fanout: Arc<Fanout>, message: Message, digest: Option<i64>) -> Self {
        let Message { source, publisher, namespace, event, target, origin, .. } = message;
        let members = fanout.rooms.read().count(&target.rooms);
        Self { fanout, namespace, target, members, messages: vec![(event, Origin { source, publisher, row: origin, digest })] }
    }

    /// Whether a message goes where these go.
    pub(super) fn is_for(&self, message: &Message) -> bool {
        self.namespace == message.namespace && self.target == message.target
    }

    /// Takes one more, which is for the same sockets.
    pub(super) fn add(&mut self, message: Message, digest: Option<i64>) {
        let Message { source, publisher, event, origin, .. } = message;
        self.messages.push((event, Origin { source, publisher, row: origin, digest }));
    }

    /// To how many sockets something is to be sent, at most.
    pub(super) fn deliveries(&self) -> usize {
        self.members * self.messages.len()
    }

    /// Returns to how many sockets something was sent.
    pub(super) fn send(self, outlet: &Outlet) -> usize {
        let count = self.messages.len();
        let (events, origins): (Vec<_>, Vec<_>) = self.messages.into_iter().unzip();
        let events = events.into_iter().zip(origins.iter().map(Origin::source));
        count * outlet.deliver_all(&self.fanout, &self.namespace, events, &self.target, |_, _| ())
    }
}

impl Origin {
    fn source(&self) -> Source<'_> {
        Source { source: self.source, publisher: self.publisher.as_deref(), origin: self.row.as_deref(), digest: self.digest }
    }
}
