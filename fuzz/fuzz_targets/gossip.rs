//! Users' transactions, as any member sends them to a validator.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| hansa_consensus::fuzzing::gossip(data));
