//! Runs a node and speaks to it from the command line.
fn main() {}
