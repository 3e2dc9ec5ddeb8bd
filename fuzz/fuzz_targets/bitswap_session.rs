//! What members of the swarm may do one after the other, into the state of what we want and what others want from us.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| hansa_swarm::fuzzing::bitswap_session(data));
