//! Greyhound: an event bus with a socket.io gateway and a Parquet activity log.

pub mod bus;
pub mod log;
