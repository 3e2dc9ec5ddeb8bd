//! What the REST interface reads of a request: an upload's headers and content, and the JSON bodies.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| hansa_gateway::fuzzing::request(data));
