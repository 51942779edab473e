//! Support for tests of plugins: a bus in memory, and a disk that loses unsynced data.

pub mod memory;
pub mod power_cut;
