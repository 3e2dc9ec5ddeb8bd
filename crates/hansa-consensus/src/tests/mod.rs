//! Tests of whole networks: over TCP, and in the deterministic runtime.

mod faults;
pub(crate) mod fixture;
mod resharing;
mod tcp;
mod world;
