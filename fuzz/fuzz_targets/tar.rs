//! A directory on its way in: a tar archive, from whoever has the node's token.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| hansa_gateway::fuzzing::tar(data));
