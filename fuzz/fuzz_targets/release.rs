//! What members' nodes ask and answer one another about releases of keys.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| hansa_consensus::fuzzing::release(data));
