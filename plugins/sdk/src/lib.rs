//! The API for Greyhound plugins.
//!
//! A plugin implements [`Plugin`]. The host validates it (configuration only, no I/O), builds it (may do I/O, spawns
//! nothing) and runs it (it owns its tasks until it is told to drain). The plugin accesses the bus through the [`Bus`]
//! in its [`Context`]: a [`Publisher`] appends rows to a topic, a [`Consumer`] reads a topic from a durable position.
//!
//! All data on a topic is Arrow `RecordBatch`es of the topic's one schema ([`TopicSchema`], written in Avro), from the
//! publisher to the table that an analyst reads.

pub mod bus;
pub mod check;
pub mod config;
pub mod consumer;
pub mod descriptors;
pub mod fs;
pub mod health;
pub mod local;
pub mod paths;
pub mod plugin;
pub mod publisher;
pub mod schema;
pub mod shard;
pub mod sql;
#[cfg(feature = "testing")]
pub mod testing;
pub mod tls;
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
