//! A block, as peers send it and the ledger stores it.
#![no_main]

use bytes::Bytes;
use hansa_types::Block;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(block) = Block::decode(&Bytes::copy_from_slice(data).into()) {
        assert_eq!(block.encoded().as_ref(), data, "one block, one encoding");
    }
});
