//! The part of the bus that all its handles share.

use super::consume::{Cursor, TopicReader, Watchers};
use super::core::Core;
use super::cursors::Cursors;
use super::gap::Reason;
use super::publish::TopicWriter;
use super::status::{ConsumerStatus, TopicStatus};
use super::topic::Topic;
use crate::log::{LogError, Retention};
use async_trait::async_trait;
use greyhound_sdk::bus::Backend;
use greyhound_sdk::consumer::Reader;
use greyhound_sdk::publisher::Writer;
use greyhound_sdk::{Shard, Start, TopicSchema, UnknownTopic};
use std::sync::Arc;

/// The state that all handles of the bus share.
pub(super) struct Inner {
    pub(super) core: Arc<Core>,
    pub(super) schemas: Vec<Arc<TopicSchema>>,
    pub(super) cursors: Arc<Cursors>,
    pub(super) watchers: Watchers,
    pub(super) retention: Retention,
}

impl Inner {
    pub(super) fn find(&self, topic: &str) -> Result<usize, UnknownTopic> {
        let known = || self.schemas.iter().map(|s| s.name().to_owned()).collect();
        let at = self.schemas.iter().position(|s| s.name() == topic);
        at.ok_or_else(|| UnknownTopic { topic: topic.to_owned(), known: known() })
    }

    pub(super) async fn retain(&self) -> Result<(), LogError> {
        let core = &self.core;
        core.record_lost(&core.log.damage(), Reason::Damage);
        let lost = core.log.retain(&self.retention, &self.cursors.required(), core.clock.now()).await?;
        core.record_lost(&lost, Reason::Retention);
        Ok(())
    }

    pub(super) fn status(&self) -> Vec<TopicStatus> {
        let consumers = self.consumers();
        let of_topic = |topic: &Arc<Topic>| {
            let bounds = self.core.log.bounds(&topic.name);
            let consumers =
                consumers.iter().filter(|(of, _)| **of == *topic.name).map(|(_, status)| status.clone()).collect();
            TopicStatus {
                topic: topic.name.to_string(),
                earliest: bounds.earliest,
                end: bounds.end,
                bytes: self.core.log.size_of(&topic.name),
                consumers,
            }
        };
        self.core.topics.iter().map(of_topic).collect()
    }

    /// Returns the topic and state of every consumer; those that retention waits for come first.
    pub(super) fn consumers(&self) -> Vec<(String, ConsumerStatus)> {
        let status = |name: String, topic: String, position: u64, required: bool| {
            let lag = self.core.log.bounds(&topic).end.saturating_sub(position);
            let active = !required || self.cursors.is_active(&name, &topic);
            (topic, ConsumerStatus { name, position, lag, required, active })
        };
        let durable = self.cursors.all().into_iter().map(|(name, topic, at)| status(name, topic, at, true));
        let watching =
            self.watchers.all().into_iter().map(|(name, topic, at)| status(name, topic.to_string(), at, false));
        durable.chain(watching).collect()
    }
}

#[async_trait]
impl Backend for Inner {
    fn shard(&self) -> &Shard {
        self.core.log.shard()
    }

    fn topics(&self) -> Vec<Arc<TopicSchema>> {
        self.schemas.clone()
    }

    fn writer(&self, topic: &str) -> Result<Arc<dyn Writer>, UnknownTopic> {
        Ok(Arc::new(TopicWriter { core: self.core.clone(), at: self.find(topic)? }))
    }

    async fn reader(&self, name: &str, topic: &str, start: Start) -> Result<Box<dyn Reader>, UnknownTopic> {
        let topic = self.core.topics[self.find(topic)?].clone();
        let bounds = self.core.log.bounds(&topic.name);
        let (cursor, position) = match start {
            Start::Earliest => {
                let (open, position) = self.cursors.open_cursor(name, &topic.name, bounds.earliest);
                (Cursor::Durable(open), position)
            }
            Start::Latest => (Cursor::StatusOnly(self.watchers.add(name, &topic.name, bounds.end)), bounds.end),
        };
        Ok(Box::new(TopicReader::new(self.core.clone(), topic, position, cursor)))
    }
}
