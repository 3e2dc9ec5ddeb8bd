//! Tests of whole networks in the deterministic runtime. Those over TCP are in `tests/it`, so that neither binary compiles the
//! engine for both runtimes.

#[path = "../../tests/it/organisation.rs"]
mod organisation;

mod faults;
pub(crate) mod fixture;
mod growth;
mod judges;
mod proofs;
mod releases;
mod resharing;
mod seats;
mod world;
