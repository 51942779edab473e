//! What a Greyhound plugin sees of the bus.
//!
//! A plugin implements [`Plugin`]: it is validated (configuration only, no I/O), built (may do I/O,
//! spawns nothing) and run (owns its tasks until told to drain). It reaches the bus through the
//! [`Bus`] in its [`Context`]: a [`Publisher`] appends rows to a topic, a [`Consumer`] reads a topic
//! from a durable position.
//!
//! Everything on a topic is an Arrow `RecordBatch` of the topic's one schema ([`TopicSchema`],
//! written in Avro), from the publisher to the table that an analyst reads.

pub mod bus;
pub mod check;
pub mod config;
pub mod consumer;
pub mod descriptors;
pub mod fs;
pub mod health;
pub mod local;
pub mod place;
pub mod plugin;
pub mod publisher;
pub mod schema;
pub mod shard;
pub mod sql;
#[cfg(feature = "testing")]
pub mod testing;
pub mod validity;

pub use bus::{Bus, UnknownTopic};
pub use check::{Check, Verdict};
pub use consumer::{Batch, Bounds, Consumer, ReadError, Start};
pub use health::Health;
pub use plugin::{Component, Context, Drain, Error, Plugin};
pub use publisher::{Durability, NotDurable, Publisher, Refused, Share};
pub use schema::{SchemaError, TopicSchema};
pub use shard::Shard;
pub use validity::BadRow;
