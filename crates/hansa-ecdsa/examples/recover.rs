//! Measures the recovery of signers: single ones by the library, and batches with expected signers.
//!
//! `cargo run --release -p hansa-ecdsa --example recover`; wall-clock time of one thread. Checks nothing.
#![expect(clippy::print_stdout, reason = "a program whose purpose is to print figures")]

use std::hint::black_box;
use std::time::Instant;

use alloy_primitives::{B256, keccak256};
use hansa_ecdsa::{SignedDigest, Signers};
use secp256k1::ecdsa::RecoveryId;
use secp256k1::{Message, SECP256K1, SecretKey};

const COUNT: u32 = 4_096;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global()?;
    let digests: Vec<B256> = (0..COUNT).map(|number| keccak256(number.to_be_bytes())).collect();
    let known = Signers::default();
    for signers in [1, 16, 64, 128] {
        let secrets: Vec<SecretKey> = (0..signers)
            .map(|signer: u32| SecretKey::from_slice(keccak256(signer.to_le_bytes()).as_slice()))
            .collect::<Result<_, _>>()?;
        let signed = |(digest, secret): (&B256, &SecretKey)| {
            let signed = SECP256K1.sign_ecdsa_recoverable(&Message::from_digest(digest.0), secret);
            let (id, r_s) = signed.serialize_compact();
            SignedDigest { digest: *digest, r_s, is_odd: id == RecoveryId::One }
        };
        let inputs: Vec<SignedDigest> = digests.iter().zip(secrets.iter().cycle()).map(signed).collect();
        let at = Instant::now();
        let answers: Vec<_> = inputs.iter().map(|signed| black_box(known.recover(signed))).collect();
        let library = micros(at);
        answers.iter().flatten().for_each(|signer| known.expect(*signer, COUNT));
        let expected: Vec<_> = inputs.into_iter().zip(answers).collect();
        print!("{signers:3} signers in turn: library {library:5.1} µs; expected, so many together:");
        for batch in [4, 8, 16, 32, 64] {
            let at = Instant::now();
            for batch in expected.chunks(batch) {
                black_box(known.recover_many(batch));
            }
            print!("  {batch} {:5.1} µs", micros(at));
        }
        println!();
    }
    Ok(())
}

fn micros(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e6 / f64::from(COUNT)
}
