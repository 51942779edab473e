//! Greyhound.
