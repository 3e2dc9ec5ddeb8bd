//! What consensus adds to a block, as the validator that proposes it sends it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: (&[u8], &[u8])| hansa_consensus::fuzzing::consensus_data(data.0, data.1));
