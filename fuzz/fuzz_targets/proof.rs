//! The proof of a block, as a node that is not trusted sends it or a file holds it.
#![no_main]

use std::sync::LazyLock;

use hansa_proof::{BlockProof, Verifier};
use hansa_types::Genesis;
use libfuzzer_sys::fuzz_target;

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let genesis = Genesis::from_json(include_str!("../../crates/hansa-proof/vectors/genesis.json"));
    Verifier::new(&genesis.expect("a committed file")).expect("a committed file")
});

fuzz_target!(|data: &[u8]| {
    if let Ok(proof) = serde_json::from_slice::<BlockProof>(data)
        && let Ok(block) = VERIFIER.block(&proof)
    {
        assert!(block.header.number > 0, "nobody writes the genesis block");
    }
});
