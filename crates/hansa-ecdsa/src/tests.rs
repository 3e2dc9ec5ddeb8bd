//! Every answer must be the library's, whatever was expected.

use alloy_primitives::{U256, address, b256, hex, keccak256, uint};
use ark_ff::PrimeField;
use ark_secp256k1::Fr;
use secp256k1::SecretKey;

use super::*;
use crate::multiples::{digits, integer};

/// The order of the curve.
const ORDER: U256 = uint!(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256);

fn secret(seed: u64) -> SecretKey {
    SecretKey::from_slice(keccak256(seed.to_be_bytes()).as_slice()).unwrap()
}

fn question(seed: u64, digest: B256) -> Question {
    let signed = SECP256K1.sign_ecdsa_recoverable(&Message::from_digest(digest.0), &secret(seed));
    let (id, r_s) = signed.serialize_compact();
    Question { digest, r_s, is_odd: id == RecoveryId::One }
}

/// An account whose multiples are at hand.
fn expected(seed: u64) -> Address {
    let signer = recover(&question(seed, B256::ZERO)).unwrap();
    expect(signer, SIGNATURES_MIN - 1);
    expect(signer, 1);
    assert!(SIGNERS.lock().multiples.contains(&signer));
    signer
}

fn multiples(signer: Address) -> Arc<Multiples> {
    SIGNERS.lock().multiples.get(&signer).cloned().unwrap()
}

fn with_s(question: Question, s: U256) -> Question {
    let mut other = question;
    other.r_s[32..].copy_from_slice(&s.to_be_bytes::<32>());
    other
}

/// The same signature in its other form.
fn negated(question: Question) -> Question {
    let s = U256::from_be_slice(&question.r_s[32..]);
    Question { is_odd: !question.is_odd, ..with_s(question, ORDER - s) }
}

#[test]
fn go_ethereums_vector_is_recovered() {
    // ecRecover.json, "ValidKey".
    let question = Question {
        digest: b256!("18c547e4f7b0f325ad1e56f57e26c745b09a3e503d86e00e5255ff7f715d3d1c"),
        r_s: hex!(
            "73b1693892219d736caba55bdb67216e485557ea6b6af75f37096c9aa6a5a75feeb940b1d03b21e36b0e47e79769f095fe2ab855bd91e3a38756b7d75a9c4549"
        ),
        is_odd: true,
    };
    let signer = address!("a94f5374fce5edbc8e2a8697c15331677e6ebf0b");
    assert_eq!(recover(&question), Some(signer));
    expect(signer, SIGNATURES_MIN - 1);
    expect(signer, 1);
    let checks = [Some(Check { question: &question, multiples: &multiples(signer) }), None];
    assert_eq!(verify::all(&checks), [true, false]);
}

#[test]
fn what_is_expected_is_checked_and_never_recovered() {
    let signer = expected(1);
    let multiples = multiples(signer);
    let digests = (0..300_u64).map(|number| keccak256(number.to_be_bytes()));
    let extremes = [B256::ZERO, B256::repeat_byte(0xff), ORDER.into(), (ORDER + U256::ONE).into()];
    let questions: Vec<_> = digests.chain(extremes).map(|digest| question(1, digest)).collect();
    let check = |question| Some(Check { question, multiples: &multiples });
    let checks: Vec<_> = questions.iter().map(check).collect();
    assert!(verify::all(&checks).into_iter().all(|is_so| is_so));
    let negated: Vec<_> = questions.iter().copied().map(negated).collect();
    let checks: Vec<_> = negated.iter().map(check).collect();
    assert!(verify::all(&checks).into_iter().all(|is_so| is_so), "both halves of s are signatures");
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
    let right = question(2, keccak256(b"right"));
    let mut wrong = vec![
        question(3, right.digest),
        Question { is_odd: !right.is_odd, ..right },
        Question { digest: keccak256(b"wrong"), ..right },
        with_s(right, U256::ZERO),
        with_s(right, ORDER),
        with_s(right, U256::MAX),
        Question { r_s: [0; 64], ..right },
        Question { r_s: [0xff; 64], ..right },
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
    let checks: Vec<_> =
        wrong.iter().map(|question| Some(Check { question, multiples: &multiples })).collect();
    assert_eq!(verify::all(&checks), vec![false; wrong.len()]);
    let questions: Vec<_> = wrong.iter().map(|question| (*question, Some(signer))).collect();
    let answers: Vec<_> = wrong.iter().map(recover).collect();
    assert_eq!(recover_many(&questions), answers);
    assert!(answers.iter().flatten().all(|answer| *answer != signer));
}

#[test]
fn sums_that_meet_a_point_again_are_given_up_and_recovered() {
    // With z = 0 the generator has no part; r = s makes the key's factor 1, so that R = Q: a signature that anybody can
    // make for this digest, and a sum of a single multiple.
    let signer = expected(4);
    let key = PublicKey::from_secret_key(SECP256K1, &secret(4)).serialize_uncompressed();
    let mut r_s = [0; 64];
    r_s[..32].copy_from_slice(&key[1..33]);
    r_s[32..].copy_from_slice(&key[1..33]);
    let forged = Question { digest: B256::ZERO, r_s, is_odd: key[64] % 2 == 1 };
    assert_eq!(recover(&forged), Some(signer));
    assert_eq!(recover_many(&[(forged, Some(signer)); 5]), [Some(signer); 5]);
    // A key that is the generator itself: both factors take their points from the same multiples, and z = r makes each
    // step of a sum add a point to itself.
    let one = SecretKey::from_slice(&U256::ONE.to_be_bytes::<32>()).unwrap();
    let key = PublicKey::from_secret_key(SECP256K1, &one);
    let own = Multiples::of_key(&key);
    let r = [0x42; 32];
    let mut r_s = [0x42; 64];
    r_s[63] = 0x43;
    let question = Question { digest: B256::from(r), r_s, is_odd: false };
    let checks = [Some(Check { question: &question, multiples: &own })];
    assert_eq!(verify::all(&checks), [false]);
}

#[test]
fn answers_keep_their_order_whoever_is_expected() {
    let signers: Vec<_> = (5..8).map(expected).collect();
    let stranger = recover(&question(9, B256::ZERO)).unwrap();
    for count in [0, 1, 3, 4, 63, 64, 65, 200] {
        let questions: Vec<_> = (0..count)
            .map(|number: u64| {
                let guess = match number % 5 {
                    0 => None,
                    1 => Some(stranger),
                    other => signers.get(other as usize % 3).copied(),
                };
                (question(5 + number % 4, keccak256(number.to_be_bytes())), guess)
            })
            .collect();
        let answers: Vec<_> = questions.iter().map(|(question, _)| recover(question)).collect();
        assert_eq!(recover_many(&questions), answers);
    }
}

#[test]
fn nobody_unknown_is_expected() {
    let stranger = Address::repeat_byte(0x77);
    expect(stranger, u32::MAX);
    assert!(!SIGNERS.lock().multiples.contains(&stranger));
}
