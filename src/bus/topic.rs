//! How far a topic is durable, and which of its rows were lost.

use super::gap::Reason;
use greyhound_sdk::{NotDurable, TopicSchema};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::watch;

/// How many lost ranges are remembered for tasks that still wait; `greyhound.gap` lists all.
const REMEMBERED_LOSSES_MAX: usize = 256;

/// A topic and its progress.
pub(super) struct Topic {
    pub(super) name: Arc<str>,
    pub(super) schema: Arc<TopicSchema>,
    progress: watch::Sender<Progress>,
    losses: Mutex<VecDeque<Loss>>,
}

/// How far a topic is durable, and whether and why it has ended.
#[derive(Debug, Clone)]
struct Progress {
    end: u64,
    ended: Option<Arc<str>>,
}

struct Loss {
    first: u64,
    last: u64,
    reason: Reason,
}

impl Topic {
    pub(super) fn new(schema: TopicSchema, end: u64) -> Self {
        let progress = watch::channel(Progress { end, ended: None }).0;
        Self { name: schema.name().into(), schema: Arc::new(schema), progress, losses: Mutex::default() }
    }

    /// The number after the newest durable row.
    pub(super) fn end(&self) -> u64 {
        self.progress.borrow().end
    }

    /// Notes that all rows before `end` are durable or known to be lost.
    pub(super) fn advance(&self, end: u64) {
        self.progress.send_modify(|p| p.end = p.end.max(end));
    }

    /// Notes that no further row becomes durable.
    pub(super) fn stop(&self, why: &Arc<str>) {
        self.progress.send_modify(|p| p.ended = Some(why.clone()));
    }

    /// Notes that `first..=last` are lost. Must be called before [`Topic::advance`] passes them.
    pub(super) fn add_loss(&self, first: u64, last: u64, reason: Reason) {
        let mut losses = self.losses.lock();
        if let Some(before) = losses.back_mut().filter(|l| l.reason == reason && l.last + 1 == first) {
            before.last = last;
            return;
        }
        if losses.len() == REMEMBERED_LOSSES_MAX {
            losses.pop_front();
        }
        losses.push_back(Loss { first, last, reason });
    }

    /// Waits until row `seq` is durable.
    pub(super) async fn durable(&self, seq: u64) -> Result<(), NotDurable> {
        let mut progress = self.progress.subscribe();
        let reached = progress.wait_for(|p| p.end > seq || p.ended.is_some()).await.map(|p| p.clone());
        let lost = |reason: &str| Err(NotDurable { topic: self.name.to_string(), seq, reason: reason.to_owned() });
        match reached {
            Ok(Progress { end, .. }) if end > seq => {
                match self.losses.lock().iter().find(|l| (l.first..=l.last).contains(&seq)) {
                    Some(loss) => lost(loss.reason.as_str()),
                    None => Ok(()),
                }
            }
            Ok(Progress { ended: Some(why), .. }) => lost(&why),
            _ => lost("the bus is gone"),
        }
    }
}
