//! What a proof holds inside: certificates, rounds, committees, keys, and the nodes of tries.
#![no_main]

use alloy_primitives::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: (&[u8], Vec<&[u8]>, &[u8])| {
    let (part, nodes, value) = data;
    hansa_proof::fuzzing::part(part);
    let nodes: Vec<Bytes> = nodes.into_iter().map(Bytes::copy_from_slice).collect();
    hansa_proof::fuzzing::nodes(&nodes, value);
});
