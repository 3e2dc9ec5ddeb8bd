//! The feed over a chain in memory.

mod chain;
mod cursors;
mod delivery;
mod model;
