//! Limits on what clients may use.

mod address;
mod config;
mod connections;
mod count;
mod queue_memory;
mod rate;
mod sending;

pub(crate) use address::Address;
pub use config::LimitsConfig;
pub(crate) use connections::{ConnectionLimits, Place, Refusal};
pub(crate) use count::{Count, Counted};
pub(crate) use queue_memory::QueueMemory;
pub(crate) use rate::{Rate, per_second};
pub(crate) use sending::{Debt, SendLimits};
