//! The state that all handlers share.

use super::metrics::Recorder;
use crate::bus::EventBus;
use greyhound_sdk::{Health, TopicSchema};
use std::sync::Arc;
use tokio::sync::Notify;

/// The state that all handlers share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ApiState {
    pub(crate) bus: Arc<EventBus>,
    pub(crate) health: Health,
    pub(crate) recorder: Recorder,
    /// Topics that the operator opens, in addition to those that their plugins declare open.
    pub(crate) open_topics: Arc<[String]>,
    /// Notified when a caller asks the program to stop.
    pub(crate) shutdown: Arc<Notify>,
}

impl ApiState {
    /// Whether callers may publish to the topic.
    pub(super) fn is_open(&self, topic: &TopicSchema) -> bool {
        topic.is_open() || self.open_topics.iter().any(|name| name == topic.name())
    }
}
