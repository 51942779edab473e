//! The journal on disks that are killed, cut off, damaged, full and failing.

mod bus;
mod damage;
mod engine;
mod faults;
mod ground;
mod power;
mod torn;
