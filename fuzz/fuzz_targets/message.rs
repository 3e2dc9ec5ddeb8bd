//! What members' nodes ask and answer one another: keys, holdings, checks.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| hansa_sharing::fuzzing::message(data));
