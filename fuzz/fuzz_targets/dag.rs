//! A block of a UnixFS DAG, as any member of the swarm may send it.
#![no_main]

use bytes::Bytes;
use hansa_content::{Block, DAG_CBOR, DAG_PB, RAW, links};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: (u8, &[u8])| {
    let (kind, data) = data;
    let codec = [DAG_PB, DAG_CBOR, RAW][usize::from(kind) % 3];
    let Ok(block) = Block::new(codec, Bytes::copy_from_slice(data)) else { return };
    let _ = links(block.cid(), block.bytes());
    hansa_content::fuzzing::file_node(&block);
});
