//! Measures what a deposit costs: to seal, to sign a part of its release, to check a part, to combine a quorum's and to open; and how
//! long it is.
//!
//! `cargo run --release -p hansa-consensus --example release`. Milliseconds on one processor, medians of 21. Shares and parts are made
//! with the engine's library alone, so the namespace is the documented one.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for developers")]

#[path = "../tests/it/organisation.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod organisation;

use std::time::Instant;

use alloy_primitives::B256;
use commonware_codec::{DecodeExt as _, Encode as _};
use commonware_cryptography::{
    bls12381::{
        dkg::feldman_desmedt::deal,
        primitives::{
            ops::{self, threshold},
            sharing::Mode,
            variant::MinSig,
        },
    },
    ed25519,
};
use commonware_parallel::Sequential;
use commonware_utils::{N3f1, ordered::Set, sys_rng};
use hansa_consensus::{GroupKey, ReleaseSignature};
use hansa_envelope::{AudienceKey, KekContext, MemberKeys, unwrap_kek, wrap_kek};
use hansa_types::{DcId, Genesis, ReleaseId, ReleasedKey};

use organisation::{CHAIN_ID, Organisation, draft};

const TIMES: usize = 21;

/// The last result and the median time in milliseconds.
fn timed<T>(mut work: impl FnMut() -> T) -> (T, f64) {
    let mut run = || {
        let begun = Instant::now();
        (work(), begun.elapsed().as_secs_f64() * 1e3)
    };
    let mut runs: Vec<_> = (0..TIMES).map(|_| run()).collect();
    let mut times: Vec<_> = runs.iter().map(|(_, ms)| *ms).collect();
    times.sort_by(f64::total_cmp);
    (runs.remove(0).0, times[TIMES / 2])
}

fn main() {
    let object = "1/42".parse().unwrap();
    let grantee = DcId::new(2).unwrap();
    let id = ReleaseId {
        chain: B256::ZERO,
        object,
        key: ReleasedKey::Epoch(1),
        grantee: Some(grantee),
        grant_nonce: 1,
    };
    let keys = MemberKeys::generate().unwrap();
    let recipient = keys.encryption_key().unwrap();
    let context = KekContext { chain_id: CHAIN_ID, object, epoch: 1, recipient: grantee };
    let audience = AudienceKey::generate().unwrap();
    let (inner, wrap_ms) = timed(|| wrap_kek(&recipient, &audience, &context).unwrap());
    let (_, unwrap_ms) = timed(|| unwrap_kek(&keys, &inner, &context).unwrap());
    println!("X-Wing alone: wrap {wrap_ms:.2} ms, unwrap {unwrap_ms:.2} ms, {} bytes", inner.len());

    let namespace = [b"hansa-release:".as_slice(), &CHAIN_ID.to_be_bytes(), B256::ZERO.as_slice()].concat();
    for validators in [4_u8, 7, 64] {
        let founders: Vec<_> = (1..=validators).map(|i| Organisation::new(i, "127.0.0.1:1".into())).collect();
        let players = founders.iter().map(|founder| {
            ed25519::PublicKey::decode(bytes::Bytes::copy_from_slice(founder.card.network_key.0.as_slice()))
                .unwrap()
        });
        let players = Set::from_iter_dedup(players);
        let (output, shares) = deal::<MinSig, _, N3f1>(sys_rng(), Mode::NonZeroCounter, players).unwrap();
        let sharing = output.public();
        let genesis = Genesis { group: output.encode().into(), ..draft(&founders, 256) };
        let group = GroupKey::of(&genesis, B256::ZERO).unwrap();

        let (deposit, seal) = timed(|| group.seal(&id, &inner).unwrap());
        let message = id.encode();
        let sign = |share| threshold::sign_message::<MinSig>(share, &namespace, &message);
        let (_, partial) = timed(|| sign(&shares.values()[0]));
        let parts: Vec<_> = shares.values().iter().map(sign).collect();
        sharing.precompute_partial_publics();
        let check = || threshold::verify_message::<MinSig>(sharing, &namespace, &message, &parts[0]).unwrap();
        let ((), verify) = timed(check);
        let (signature, recover) = timed(|| {
            let signature = threshold::recover::<MinSig, _>(sharing, &parts, &Sequential).unwrap();
            ops::verify_message::<MinSig>(sharing.public(), &namespace, &message, &signature).unwrap();
            ReleaseSignature::from_bytes(signature.encode().as_ref().try_into().unwrap())
        });
        let (opened, open) = timed(|| group.open(&id, &signature, &deposit).unwrap());
        assert_eq!(opened, inner);
        println!(
            "{validators} validators, {} needed: seal {seal:.2} ms, partial {partial:.2} ms, verify {verify:.2} ms, recover and \
             verify {recover:.2} ms, open {open:.2} ms, {} bytes",
            sharing.required(),
            deposit.encode().len()
        );
    }
}
