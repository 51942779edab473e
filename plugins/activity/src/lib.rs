//! Sink.
