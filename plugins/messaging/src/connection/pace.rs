//! Slows a client that sends more than its limits allow: the server does not read from it, so that it cannot send.

use super::client_frames::ClientFrames;
use super::core::Connection;
use crate::limits::{Debt, SendLimits};
use crate::metrics as names;
use metrics::counter;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// The pace at which a client is read.
#[derive(Default)]
pub(super) struct Pace {
    frames: ClientFrames,
    debt: Debt,
    /// Set from the first wait until nothing is left to read.
    slowed: Option<Slowed>,
}

struct Slowed {
    until: Pin<Box<Sleep>>,
    /// When it reached its own limit or that of its user.
    own_since: Option<Instant>,
}

impl Pace {
    /// These bytes were read.
    pub(super) fn read(&mut self, bytes: &[u8], limits: &SendLimits) {
        self.debt.add(self.frames.count(bytes), bytes.len(), limits);
    }

    /// Nothing is left to read.
    pub(super) fn read_all(&mut self, connection: &Connection) {
        // A task without budget reads nothing although there may be something.
        if self.slowed.is_some() && tokio::task::coop::has_budget_remaining() {
            self.slowed = None;
            connection.set_flooding(false);
        }
    }

    /// Waits until more may be read. Closes the connection of a client that is at its limits for too long.
    pub(super) fn poll_ready(&mut self, connection: &Connection, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(pause) = connection.take_pause() {
                self.wait(pause, "refusals");
            }
            if let Some(slowed) = &mut self.slowed {
                ready!(slowed.until.as_mut().poll(cx));
            }
            if !self.debt.is_due() {
                return Poll::Ready(());
            }
            let limits = &connection.settings.send_limits;
            let Err(wait) = self.debt.pay(connection.user().as_ref(), connection.client.address, limits) else {
                // Other clients have their turn before it continues.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            };
            let slowed = self.wait(wait.time, if wait.is_own { "client" } else { "address" });
            connection.set_flooding(true);
            let now = Instant::now();
            if wait.is_own && *slowed.own_since.get_or_insert(now) + connection.settings.flood_timeout <= now {
                connection.set_close_reason("flooding");
                connection.abort();
                return Poll::Ready(());
            }
        }
    }

    fn wait(&mut self, time: Duration, limit: &'static str) -> &mut Slowed {
        let until = Instant::now() + time;
        let slowed = self.slowed.get_or_insert_with(|| {
            counter!(names::SLOWED, "limit" => limit).increment(1);
            Slowed { until: Box::pin(sleep_until(until)), own_since: None }
        });
        slowed.until.as_mut().reset(until);
        slowed
    }
}
