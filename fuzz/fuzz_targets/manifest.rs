//! A manifest, after decryption: written by its owner, who may be anybody.
#![no_main]

use hansa_envelope::SignedManifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = SignedManifest::decode(data.to_vec());
});
