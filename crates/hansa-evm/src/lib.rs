//! Executes transactions: (state view, block) in, outcome out.
