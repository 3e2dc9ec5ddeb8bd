//! A page of the state trie, as the disk returns it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: (u8, &[u8])| hansa_trie::fuzzing::page(data.0, data.1));
