//! For the tests of plugins: a bus in memory, and a disk that loses what was not synced.

pub mod memory;
pub mod power_cut;
