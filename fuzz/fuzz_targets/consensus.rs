//! What consensus adds to a block, as the validator that proposes it sends it.
#![no_main]

use alloy_consensus::Header;
use alloy_primitives::Bytes;
use hansa_types::{Block, ConsensusData};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: (&[u8], &[u8])| {
    let [context, reshare] = [data.0, data.1].map(Bytes::copy_from_slice);
    let data = ConsensusData { context, reshare, ..ConsensusData::default() };
    let header = Header { number: 1, ..Header::default() };
    hansa_consensus::fuzzing::consensus_data(Block::new(header, Vec::new(), data));
});
