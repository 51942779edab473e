//! Keeps the order of a client's events while one of them waits.

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use std::collections::VecDeque;

/// Maximum number of events that wait for an earlier one.
const WAITING_EVENTS_MAX: usize = 1024;
/// Maximum size of the events that wait for an earlier one, in bytes. One event may be larger.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// The handling of an event.
pub(crate) type Handling = BoxFuture<'static, ()>;

/// The events of a client that wait because an earlier one is being handled. Takes no memory while none is.
#[derive(Default)]
pub(crate) struct EventOrder(Mutex<Option<Box<Waiting>>>);

#[derive(Default)]
struct Waiting {
    events: VecDeque<(usize, Handling)>,
    bytes: usize,
}

/// What happens to an event.
pub(crate) enum Turn {
    /// No other is being handled: the caller handles this one, and then those of [`EventOrder::next`].
    Now(Handling),
    /// Whoever handles the earlier events will handle it.
    Later,
    /// Too many wait already.
    TooMany,
}

impl EventOrder {
    /// Whether an event is being handled, so that later ones have to wait.
    pub(crate) fn is_busy(&self) -> bool {
        self.0.lock().is_some()
    }

    /// Adds an event of `size` bytes.
    pub(crate) fn add(&self, size: usize, event: Handling) -> Turn {
        let mut waiting = self.0.lock();
        let Some(queue) = &mut *waiting else {
            *waiting = Some(Box::default());
            return Turn::Now(event);
        };
        let fits = queue.events.is_empty() || queue.bytes + size <= WAITING_BYTES_MAX;
        if !fits || queue.events.len() >= WAITING_EVENTS_MAX {
            return Turn::TooMany;
        }
        queue.bytes += size;
        queue.events.push_back((size, event));
        Turn::Later
    }

    /// The next event to handle. After `None`, none is being handled.
    pub(crate) fn next(&self) -> Option<Handling> {
        let mut waiting = self.0.lock();
        let next = waiting.as_mut().and_then(|queue| {
            let (size, event) = queue.events.pop_front()?;
            queue.bytes -= size;
            Some(event)
        });
        if next.is_none() {
            *waiting = None;
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use futures_util::future::ready;

    fn event() -> Handling {
        ready(()).boxed()
    }

    #[test]
    fn events_wait_while_one_is_handled() {
        let order = EventOrder::default();
        assert!(!order.is_busy());
        assert!(matches!(order.add(1, event()), Turn::Now(_)));
        assert!(order.is_busy() && matches!(order.add(1, event()), Turn::Later));
        assert!(order.next().is_some() && order.is_busy() && order.next().is_none());
        assert!(!order.is_busy() && matches!(order.add(1, event()), Turn::Now(_)));
    }

    #[test]
    fn neither_many_nor_large_events_wait() {
        let busy = || {
            let order = EventOrder::default();
            assert!(matches!(order.add(WAITING_BYTES_MAX * 2, event()), Turn::Now(_)));
            order
        };
        let order = busy();
        (0..WAITING_EVENTS_MAX).for_each(|_| assert!(matches!(order.add(1, event()), Turn::Later)));
        assert!(matches!(order.add(1, event()), Turn::TooMany));
        let order = busy();
        assert!(matches!(order.add(WAITING_BYTES_MAX * 2, event()), Turn::Later));
        assert!(matches!(order.add(1, event()), Turn::TooMany));
        order.next();
        assert!(matches!(order.add(1, event()), Turn::Later));
    }
}
