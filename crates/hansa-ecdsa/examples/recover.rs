//! Measures what recovering a signer costs, one by one with the library and in batches from an expected signer.
//!
//! `cargo run --release -p hansa-ecdsa --example recover`; wall-clock time of one thread. Not a test: nothing is checked.
#![expect(clippy::print_stdout, reason = "a program whose purpose is to print figures")]

use std::hint::black_box;
use std::time::Instant;

use alloy_primitives::{B256, keccak256};
use hansa_ecdsa::{Question, expect, recover, recover_many};
use secp256k1::ecdsa::RecoveryId;
use secp256k1::{Message, SECP256K1, SecretKey};

const COUNT: u32 = 4_096;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global()?;
    let secret = SecretKey::from_slice(keccak256("signer").as_slice())?;
    let question = |number: u32| {
        let digest: B256 = keccak256(number.to_be_bytes());
        let signed = SECP256K1.sign_ecdsa_recoverable(&Message::from_digest(digest.0), &secret);
        let (id, r_s) = signed.serialize_compact();
        Question { digest, r_s, is_odd: id == RecoveryId::One }
    };
    let questions: Vec<Question> = (0..COUNT).map(question).collect();
    let at = Instant::now();
    let signer = questions.iter().map(|question| black_box(recover(question))).fold(None, |_, signer| signer);
    println!("library              {:6.1} µs", at.elapsed().as_secs_f64() * 1e6 / f64::from(COUNT));
    let signer = signer.ok_or("nobody signed")?;
    expect(signer, COUNT);
    for batch in [4, 8, 16, 32, 64] {
        let expected: Vec<_> = questions.iter().map(|question| (*question, Some(signer))).collect();
        let at = Instant::now();
        for batch in expected.chunks(batch) {
            black_box(recover_many(batch));
        }
        let each = at.elapsed().as_secs_f64() * 1e6 / f64::from(COUNT);
        println!("expected, {batch:2} together {each:6.1} µs");
    }
    Ok(())
}
