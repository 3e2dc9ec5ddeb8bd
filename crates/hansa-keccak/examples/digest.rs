//! Measures keccak-256 of single messages and of batches: `cargo run --release -p hansa-keccak --example digest`. Checks nothing.
#![expect(clippy::print_stdout, reason = "a program whose purpose is to print figures")]

use std::hint::black_box;
use std::time::Instant;

use alloy_primitives::{B256, keccak256};
use hansa_keccak::digest_all;

const MESSAGES: usize = 64;
const ROUNDS: usize = 2_000;

fn main() {
    println!("bytes  one by one ns  {MESSAGES} at once ns");
    for length in [32, 100, 364, 532, 700] {
        let bytes: Vec<u8> = (0..length * MESSAGES).map(|at| at as u8).collect();
        let nanoseconds = |work: &mut dyn FnMut()| {
            let begun = Instant::now();
            (0..ROUNDS).for_each(|_| work());
            begun.elapsed().as_secs_f64() * 1e9 / (ROUNDS * MESSAGES) as f64
        };
        let single = nanoseconds(&mut || {
            bytes.chunks(length).for_each(|message| {
                black_box(keccak256(message));
            });
        });
        let mut digests: Vec<B256> = Vec::new();
        let together = nanoseconds(&mut || digest_all(black_box(&bytes).chunks(length), &mut digests));
        println!("{length:5}  {single:13.0}  {together:13.0}");
    }
}
