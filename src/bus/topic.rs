//! One topic, as its publishers and consumers see it.

use super::gap::Reason;
use greyhound_sdk::{NotDurable, TopicSchema};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::watch;

/// How many lost ranges are remembered for those who still wait; `greyhound.gap` has them all.
const REMEMBERED_LOSSES: usize = 256;

/// A topic and how far it is durable.
pub(super) struct Topic {
    pub(super) name: Arc<str>,
    pub(super) schema: Arc<TopicSchema>,
    progress: watch::Sender<Progress>,
    losses: Mutex<VecDeque<Loss>>,
}

/// How far a topic is durable, and whether it will go any further.
#[derive(Debug, Clone)]
struct Progress {
    end: u64,
    over: Option<Arc<str>>,
}

struct Loss {
    first: u64,
    last: u64,
    reason: Reason,
}

impl Topic {
    pub(super) fn new(schema: TopicSchema, end: u64) -> Self {
        let progress = watch::channel(Progress { end, over: None }).0;
        Self { name: schema.name().into(), schema: Arc::new(schema), progress, losses: Mutex::default() }
    }

    /// The number after the newest durable row.
    pub(super) fn end(&self) -> u64 {
        self.progress.borrow().end
    }

    /// All rows before `end` are durable, or known to be lost.
    pub(super) fn advance(&self, end: u64) {
        self.progress.send_modify(|p| p.end = p.end.max(end));
    }

    /// No further row will be durable.
    pub(super) fn stop(&self, why: &Arc<str>) {
        self.progress.send_modify(|p| p.over = Some(why.clone()));
    }

    /// Remembers that `first..=last` are lost. To be called before [`Topic::advance`] passes them.
    pub(super) fn lose(&self, first: u64, last: u64, reason: Reason) {
        let mut losses = self.losses.lock();
        if let Some(before) = losses.back_mut().filter(|l| l.reason == reason && l.last + 1 == first) {
            before.last = last;
            return;
        }
        if losses.len() == REMEMBERED_LOSSES {
            losses.pop_front();
        }
        losses.push_back(Loss { first, last, reason });
    }

    /// Waits until row `seq` is durable.
    pub(super) async fn durable(&self, seq: u64) -> Result<(), NotDurable> {
        let mut progress = self.progress.subscribe();
        let reached = progress.wait_for(|p| p.end > seq || p.over.is_some()).await.map(|p| p.clone());
        let lost = |reason: &str| Err(NotDurable { topic: self.name.to_string(), seq, reason: reason.to_owned() });
        match reached {
            Ok(Progress { end, .. }) if end > seq => {
                match self.losses.lock().iter().find(|l| (l.first..=l.last).contains(&seq)) {
                    Some(loss) => lost(loss.reason.as_str()),
                    None => Ok(()),
                }
            }
            Ok(Progress { over: Some(why), .. }) => lost(&why),
            _ => lost("the bus is gone"),
        }
    }
}
