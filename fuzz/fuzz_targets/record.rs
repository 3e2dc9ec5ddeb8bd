//! The record of a block's changes, as the disk returns it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| hansa_trie::fuzzing::record(data));
