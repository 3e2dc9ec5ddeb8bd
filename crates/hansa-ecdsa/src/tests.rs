//! Results equal the library's, whatever signer is expected.

use alloy_primitives::{U256, address, b256, hex, keccak256, uint};
use ark_ff::PrimeField;
use ark_secp256k1::Fr;
use secp256k1::SecretKey;

use std::sync::LazyLock;

use super::*;
use crate::multiples::{digits, integer};

/// Shared by the tests, as by the tasks of a node.
static SIGNERS: LazyLock<Signers> = LazyLock::new(Signers::default);

/// The order of the curve.
const ORDER: U256 = uint!(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256);

fn secret(seed: u64) -> SecretKey {
    SecretKey::from_slice(keccak256(seed.to_be_bytes()).as_slice()).unwrap()
}

fn signed(seed: u64, digest: B256) -> SignedDigest {
    let signed = SECP256K1.sign_ecdsa_recoverable(&Message::from_digest(digest.0), &secret(seed));
    let (id, r_s) = signed.serialize_compact();
    SignedDigest { digest, r_s, is_odd: id == RecoveryId::One }
}

/// An account with precomputed multiples.
fn expected(seed: u64) -> Address {
    let signer = SIGNERS.recover(&signed(seed, B256::ZERO)).unwrap();
    SIGNERS.expect(signer, SIGNATURES_MIN - 1);
    SIGNERS.expect(signer, 1);
    assert!(SIGNERS.0.lock().multiples.contains(&signer));
    signer
}

fn multiples(signer: Address) -> Arc<Multiples> {
    SIGNERS.0.lock().multiples.get(&signer).cloned().unwrap()
}

fn with_s(signed: SignedDigest, s: U256) -> SignedDigest {
    let mut other = signed;
    other.r_s[32..].copy_from_slice(&s.to_be_bytes::<32>());
    other
}

/// The signature with `s` negated.
fn negated(signed: SignedDigest) -> SignedDigest {
    let s = U256::from_be_slice(&signed.r_s[32..]);
    SignedDigest { is_odd: !signed.is_odd, ..with_s(signed, ORDER - s) }
}

#[test]
fn go_ethereums_vector_is_recovered() {
    // ecRecover.json, "ValidKey".
    let signed = SignedDigest {
        digest: b256!("18c547e4f7b0f325ad1e56f57e26c745b09a3e503d86e00e5255ff7f715d3d1c"),
        r_s: hex!(
            "73b1693892219d736caba55bdb67216e485557ea6b6af75f37096c9aa6a5a75feeb940b1d03b21e36b0e47e79769f095fe2ab855bd91e3a38756b7d75a9c4549"
        ),
        is_odd: true,
    };
    let signer = address!("a94f5374fce5edbc8e2a8697c15331677e6ebf0b");
    assert_eq!(SIGNERS.recover(&signed), Some(signer));
    SIGNERS.expect(signer, SIGNATURES_MIN - 1);
    SIGNERS.expect(signer, 1);
    let checks = [Some(Check { signed: &signed, multiples: &multiples(signer) }), None];
    assert_eq!(verify::all(&checks), [true, false]);
}

#[test]
fn what_is_expected_is_checked_and_never_recovered() {
    let signer = expected(1);
    let multiples = multiples(signer);
    let digests = (0..300_u64).map(|number| keccak256(number.to_be_bytes()));
    let extremes = [B256::ZERO, B256::repeat_byte(0xff), ORDER.into(), (ORDER + U256::ONE).into()];
    let inputs: Vec<_> = digests.chain(extremes).map(|digest| signed(1, digest)).collect();
    let check = |signed| Some(Check { signed, multiples: &multiples });
    let checks: Vec<_> = inputs.iter().map(check).collect();
    assert!(verify::all(&checks).into_iter().all(|holds| holds));
    let negated: Vec<_> = inputs.iter().copied().map(negated).collect();
    let checks: Vec<_> = negated.iter().map(check).collect();
    assert!(verify::all(&checks).into_iter().all(|holds| holds), "both halves of s are signatures");
}

#[test]
fn digits_add_up_to_their_scalar() {
    let order_minus = |number: u64| -Fr::from(number);
    let mut scalars: Vec<Fr> = (0..600).flat_map(|number| [Fr::from(number), order_minus(number)]).collect();
    scalars.push(Fr::from_bigint(Fr::MODULUS_MINUS_ONE_DIV_TWO).unwrap());
    scalars.push(scalars[scalars.len() - 1] + Fr::from(1));
    scalars
        .extend((0..64_u32).map(|seed| Fr::from_bigint(integer(&keccak256(seed.to_be_bytes()).0)).unwrap()));
    scalars.extend(
        [0x80, 0x81, 0xff, 0x7f].map(|byte| Fr::from_bigint(integer(&[byte; 32])).unwrap_or_default()),
    );
    for scalar in scalars {
        let sum = digits(scalar).into_iter().rev().fold(Fr::from(0), |sum, digit| {
            assert!((-128..=128).contains(&digit));
            sum * Fr::from(256) + Fr::from(digit)
        });
        assert_eq!(sum, scalar);
    }
}

#[test]
fn no_wrong_signature_passes_the_check() {
    let signer = expected(2);
    let multiples = multiples(signer);
    let right = signed(2, keccak256(b"right"));
    let mut wrong = vec![
        signed(3, right.digest),
        SignedDigest { is_odd: !right.is_odd, ..right },
        SignedDigest { digest: keccak256(b"wrong"), ..right },
        with_s(right, U256::ZERO),
        with_s(right, ORDER),
        with_s(right, U256::MAX),
        SignedDigest { r_s: [0; 64], ..right },
        SignedDigest { r_s: [0xff; 64], ..right },
    ];
    wrong.extend((0..512).map(|bit: usize| {
        let mut other = right;
        other.r_s[bit / 8] ^= 1 << (bit % 8);
        other
    }));
    wrong.extend((0..256).map(|bit: usize| {
        let mut other = right;
        other.digest.0[bit / 8] ^= 1 << (bit % 8);
        other
    }));
    let checks: Vec<_> = wrong.iter().map(|signed| Some(Check { signed, multiples: &multiples })).collect();
    assert_eq!(verify::all(&checks), vec![false; wrong.len()]);
    let inputs: Vec<_> = wrong.iter().map(|signed| (*signed, Some(signer))).collect();
    let answers: Vec<_> = wrong.iter().map(|signed| SIGNERS.recover(signed)).collect();
    assert_eq!(SIGNERS.recover_many(&inputs), answers);
    assert!(answers.iter().flatten().all(|answer| *answer != signer));
}

#[test]
fn sums_that_meet_a_point_again_are_given_up_and_recovered() {
    // z = 0 removes the generator's part, and r = s makes the key's factor 1, so R = Q. Anybody can forge this signature of a zero
    // digest, and its sum has a single summand.
    let signer = expected(4);
    let key = PublicKey::from_secret_key(SECP256K1, &secret(4)).serialize_uncompressed();
    let mut r_s = [0; 64];
    r_s[..32].copy_from_slice(&key[1..33]);
    r_s[32..].copy_from_slice(&key[1..33]);
    let forged = SignedDigest { digest: B256::ZERO, r_s, is_odd: key[64] % 2 == 1 };
    assert_eq!(SIGNERS.recover(&forged), Some(signer));
    assert_eq!(SIGNERS.recover_many(&[(forged, Some(signer)); 5]), [Some(signer); 5]);
    // The key is the generator itself: both factors use the same multiples, and z = r makes each addition a doubling.
    let one = SecretKey::from_slice(&U256::ONE.to_be_bytes::<32>()).unwrap();
    let key = PublicKey::from_secret_key(SECP256K1, &one);
    let own = Multiples::of_key(&key);
    let r = [0x42; 32];
    let mut r_s = [0x42; 64];
    r_s[63] = 0x43;
    let signed = SignedDigest { digest: B256::from(r), r_s, is_odd: false };
    let checks = [Some(Check { signed: &signed, multiples: &own })];
    assert_eq!(verify::all(&checks), [false]);
}

#[test]
fn answers_keep_their_order_whoever_is_expected() {
    let signers: Vec<_> = (5..8).map(expected).collect();
    let stranger = SIGNERS.recover(&signed(9, B256::ZERO)).unwrap();
    for count in [0, 1, 3, 4, 63, 64, 65, 200] {
        let inputs: Vec<_> = (0..count)
            .map(|number: u64| {
                let guess = match number % 5 {
                    0 => None,
                    1 => Some(stranger),
                    other => signers.get(other as usize % 3).copied(),
                };
                (signed(5 + number % 4, keccak256(number.to_be_bytes())), guess)
            })
            .collect();
        let answers: Vec<_> = inputs.iter().map(|(signed, _)| SIGNERS.recover(signed)).collect();
        assert_eq!(SIGNERS.recover_many(&inputs), answers);
    }
}

#[test]
fn nobody_unknown_is_expected() {
    let stranger = Address::repeat_byte(0x77);
    SIGNERS.expect(stranger, u32::MAX);
    assert!(!SIGNERS.0.lock().multiples.contains(&stranger));
}
