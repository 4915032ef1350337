//! Entry point: only dispatches.

fn main() {}
