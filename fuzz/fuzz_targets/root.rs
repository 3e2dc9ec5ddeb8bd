//! The root block of an object, as any member of the swarm may send it.
#![no_main]

use hansa_envelope::ObjectRoot;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = ObjectRoot::decode(data);
});
