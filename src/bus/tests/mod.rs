//! Tests of the bus as a whole.
