//! Tests of whole networks: over TCP, and in the deterministic runtime.

mod fixture;
mod tcp;
