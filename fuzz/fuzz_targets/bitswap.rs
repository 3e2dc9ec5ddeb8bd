//! A Bitswap message, as any member of the swarm may send it.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| hansa_swarm::fuzzing::bitswap_message(Bytes::copy_from_slice(data)));
