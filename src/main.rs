//! The `greyhound` program.

fn main() {}
