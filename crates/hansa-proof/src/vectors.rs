//! The committed vectors verify, and nothing that differs from them in a byte.

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_rlp::Decodable as _;
use hansa_types::{ConsensusData, Genesis};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    Account, BlockProof, Certificate, HEADERS_MAX, ProofError, Verifier, account, decode_certificate,
    receipt, storage, transaction,
};

const GENESIS: &str = include_str!("../vectors/genesis.json");
const FIRST: &str = include_str!("../vectors/first.json");
const EPOCH: &str = include_str!("../vectors/epoch.json");
const FOLLOWS: &str = include_str!("../vectors/follows.json");
const SKIPPED: &str = include_str!("../vectors/skipped.json");
const SKIPPED_LATER: &str = include_str!("../vectors/skipped-later.json");
const STATE: &str = include_str!("../vectors/state.json");

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StateVector {
    proof: BlockProof,
    accounts: Vec<AccountVector>,
    transactions: Vec<Item>,
    receipts: Vec<Item>,
}

#[derive(Deserialize)]
struct AccountVector {
    address: Address,
    account: Option<State>,
    nodes: Vec<Bytes>,
    slots: Vec<Slot>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct State {
    nonce: u64,
    balance: U256,
    storage_root: B256,
    code_hash: B256,
}

#[derive(Deserialize)]
struct Slot {
    slot: B256,
    value: U256,
    nodes: Vec<Bytes>,
}

#[derive(Deserialize)]
struct Item {
    index: u64,
    envelope: Bytes,
    nodes: Vec<Bytes>,
}

fn read<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap()
}

fn genesis() -> Genesis {
    Genesis::from_json(GENESIS).unwrap()
}

fn verifier() -> Verifier {
    Verifier::new(&genesis()).unwrap()
}

/// Every byte of `bytes` changed by itself, and one byte less or more.
fn tampered(bytes: &Bytes) -> impl Iterator<Item = Bytes> + '_ {
    let flipped = (0..bytes.len()).map(|at| {
        let mut changed = bytes.to_vec();
        changed[at] ^= 1 << (at % 8);
        changed.into()
    });
    let shorter = bytes.slice(..bytes.len() - 1);
    flipped.chain([shorter, [bytes.as_ref(), &[0]].concat().into()])
}

#[test]
fn blocks_of_every_kind_of_draw_verify() {
    let verifier = verifier();
    for (text, founding, first, skipped) in [
        (FIRST, true, true, false),
        (EPOCH, false, true, false),
        (FOLLOWS, false, false, false),
        (SKIPPED, true, false, true),
        (SKIPPED_LATER, false, false, true),
    ] {
        let proof: BlockProof = read(text);
        let block = verifier.block(&proof).unwrap();
        let writer = block.writer;
        assert_eq!((writer.epoch == 0, writer.view == 1), (founding, first), "{writer:?}");
        assert_eq!(writer.views_skipped > 0, skipped, "{writer:?}");
        assert_eq!(block.hash, keccak256(&proof.block.headers[0]));
        let founder = genesis().founders.into_iter().find(|card| card.account == block.writer.account);
        assert_eq!(founder.unwrap().network_key, block.writer.network_key);
        assert_eq!(
            serde_json::to_value(&proof).unwrap(),
            read::<serde_json::Value>(text),
            "the shape is pinned"
        );
    }
}

/// A block without a certificate of its own is final with its child.
#[test]
fn a_block_is_final_with_its_descendants() {
    let verifier = verifier();
    let mut proof: BlockProof = read(EPOCH);
    let number = verifier.block(&proof).unwrap().header.number;
    // The committee's block is the parent here. It has a certificate of its own, which gives way to its child's.
    let mut chained = proof.committee.take().unwrap();
    chained.headers.push(proof.block.headers[0].clone());
    chained.certificate = proof.block.certificate.clone();
    proof.committee = Some(chained.clone());
    assert_eq!(verifier.block(&proof).unwrap().header.number, number);
    for (headers, expected) in [
        (vec![1, 0], ProofError::Chain("one is not the child of the one before it")),
        (vec![0], ProofError::Chain("the certificate is for another block than the last")),
        (vec![0, 1, 1], ProofError::Chain("one is not the child of the one before it")),
        (vec![0; HEADERS_MAX + 1], ProofError::TooLong(HEADERS_MAX + 1)),
    ] {
        let mut wrong = chained.clone();
        wrong.headers = headers.into_iter().map(|place: usize| chained.headers[place].clone()).collect();
        assert_eq!(verifier.block(&BlockProof { committee: Some(wrong), ..proof.clone() }), Err(expected));
    }
}

#[test]
fn nothing_that_differs_in_a_byte_verifies() {
    let verifier = verifier();
    let proof: BlockProof = read(SKIPPED);
    let refused = |change: &dyn Fn(&mut BlockProof)| {
        let mut changed = proof.clone();
        change(&mut changed);
        assert!(verifier.block(&changed).is_err(), "{changed:?}");
    };
    tampered(&proof.genesis).for_each(|bytes| refused(&|p| p.genesis = bytes.clone()));
    tampered(&proof.block.headers[0]).for_each(|bytes| refused(&|p| p.block.headers[0] = bytes.clone()));
    tampered(&proof.block.consensus).for_each(|bytes| refused(&|p| p.block.consensus = bytes.clone()));
    let Certificate { vote_signature, seed_signature, .. } = &proof.block.certificate;
    tampered(vote_signature)
        .for_each(|bytes| refused(&|p| p.block.certificate.vote_signature = bytes.clone()));
    tampered(seed_signature)
        .for_each(|bytes| refused(&|p| p.block.certificate.seed_signature = bytes.clone()));
    for bit in 0..64 {
        refused(&|p| p.block.certificate.epoch ^= 1 << bit);
        refused(&|p| p.block.certificate.view ^= 1 << bit);
        refused(&|p| p.block.certificate.parent_view ^= 1 << bit);
    }
    for at in 0..32 {
        refused(&|p| p.block.certificate.hash.0[at] ^= 1);
    }
    // Genuine signatures of the group, each in the other's place.
    refused(&|p| {
        let certificate = &mut p.block.certificate;
        core::mem::swap(&mut certificate.vote_signature, &mut certificate.seed_signature);
    });
}

/// The committee's evidence decides who could be drawn, so it is checked like the block itself.
#[test]
fn nobody_adds_a_validator() {
    let verifier = verifier();
    let proof: BlockProof = read(SKIPPED_LATER);
    let evidence = proof.committee.clone().unwrap();
    for consensus in tampered(&evidence.consensus) {
        let committee = Some(hansa_types::BlockEvidence { consensus, ..evidence.clone() });
        assert!(verifier.block(&BlockProof { committee, ..proof.clone() }).is_err());
    }
    let superfluous = BlockProof { committee: Some(evidence), ..read(SKIPPED) };
    assert_eq!(verifier.block(&superfluous), Err(ProofError::Committee("epoch 0 needs none")));
}

#[test]
fn a_changed_genesis_file_is_another_network() {
    let proof: BlockProof = read(FIRST);
    let check = |change: &dyn Fn(&mut Genesis)| {
        let mut changed = genesis();
        change(&mut changed);
        Verifier::new(&changed).and_then(|verifier| verifier.block(&proof)).unwrap_err()
    };
    assert_eq!(check(&|g| g.chain_id += 1), ProofError::OtherNetwork);
    assert_eq!(check(&|g| g.limits.epoch_blocks += 1), ProofError::OtherNetwork);
    assert_eq!(check(&|g| g.founders[0].name.push('x')), ProofError::OtherNetwork);
    assert!(matches!(check(&|g| g.group = Bytes::new()), ProofError::GroupKey(_)));
    assert!(matches!(check(&|g| g.founders.truncate(3)), ProofError::GroupKey(_)));
    assert!(matches!(check(&|g| g.group = g.group.slice(1..)), ProofError::GroupKey(_)));
    for at in 0..genesis().group.len() {
        let change = |g: &mut Genesis| {
            let mut group = g.group.to_vec();
            group[at] ^= 1;
            g.group = group.into();
        };
        assert!(matches!(check(&change), ProofError::GroupKey(_) | ProofError::OtherNetwork), "{at}");
    }
}

#[test]
fn a_certificate_verifies_in_its_own_chain_alone() {
    let proof: BlockProof = read(FIRST);
    let (verifier, certificate) = (verifier(), &proof.block.certificate);
    let genesis = keccak256(&proof.genesis);
    assert_eq!(verifier.certificate(genesis, certificate), Ok(()));
    assert!(matches!(verifier.certificate(B256::ZERO, certificate), Err(ProofError::Signature(_))));
    let engine = [
        &[0, certificate.view as u8, certificate.parent_view as u8][..],
        certificate.hash.as_slice(),
        &certificate.vote_signature,
        &certificate.seed_signature,
    ]
    .concat();
    assert_eq!(decode_certificate(&engine).as_ref(), Ok(certificate));
    for end in 0..engine.len() {
        assert!(decode_certificate(&engine[..end]).is_err(), "{end}");
    }
    assert!(decode_certificate(&[&engine[..], &[0]].concat()).is_err());
}

#[test]
fn accounts_and_storage_are_proven_present_and_absent() {
    let StateVector { proof, accounts, .. } = read(STATE);
    let root = verifier().block(&proof).unwrap().header.state_root;
    let mut counts = [0; 4];
    for vector in &accounts {
        let state = vector.account.as_ref().map(|state| Account {
            nonce: state.nonce,
            balance: state.balance,
            storage_root: state.storage_root,
            code_hash: state.code_hash,
        });
        let check = |state: Option<&Account>, nodes: &[Bytes]| account(root, vector.address, state, nodes);
        assert_eq!(check(state.as_ref(), &vector.nodes), Ok(()));
        let other = Account { nonce: 77, ..state.unwrap_or_default() };
        assert_eq!(check(Some(&other), &vector.nodes), Err(ProofError::Trie("account")));
        refuse_nodes(&vector.nodes, |nodes| check(state.as_ref(), nodes));
        counts[usize::from(state.is_some())] += 1;
        let Some(state) = state else { continue };
        assert!(check(None, &vector.nodes).is_err());
        for slot in &vector.slots {
            let check = |value, nodes: &[Bytes]| storage(state.storage_root, slot.slot, value, nodes);
            assert_eq!(check(slot.value, &slot.nodes), Ok(()));
            assert_eq!(check(slot.value + U256::ONE, &slot.nodes), Err(ProofError::Trie("storage value")));
            refuse_nodes(&slot.nodes, |nodes| check(slot.value, nodes));
            counts[2 + usize::from(!slot.value.is_zero())] += 1;
        }
    }
    assert!(counts.iter().all(|count| *count > 0), "absent and present of both: {counts:?}");
}

#[test]
fn transactions_and_receipts_are_proven_in_their_places() {
    type Check = fn(B256, u64, &[u8], &[Bytes]) -> Result<(), ProofError>;
    let StateVector { proof, transactions, receipts, .. } = read(STATE);
    let header = verifier().block(&proof).unwrap().header;
    let lists: [(Check, B256, Vec<Item>); 2] =
        [(transaction, header.transactions_root, transactions), (receipt, header.receipts_root, receipts)];
    for (check, root, items) in lists {
        assert!(items.len() > 1);
        for item in &items {
            assert_eq!(check(root, item.index, &item.envelope, &item.nodes), Ok(()));
            assert!(check(root, item.index + 1, &item.envelope, &item.nodes).is_err());
            for envelope in tampered(&item.envelope) {
                assert!(check(root, item.index, &envelope, &item.nodes).is_err());
            }
            refuse_nodes(&item.nodes, |nodes| check(root, item.index, &item.envelope, nodes));
        }
    }
}

/// No node can be changed, dropped, doubled or moved.
fn refuse_nodes(nodes: &[Bytes], check: impl Fn(&[Bytes]) -> Result<(), ProofError>) {
    for place in 0..nodes.len() {
        for node in tampered(&nodes[place]) {
            let mut changed = nodes.to_vec();
            changed[place] = node;
            assert!(check(&changed).is_err(), "node {place}");
        }
        let mut fewer = nodes.to_vec();
        fewer.remove(place);
        assert!(check(&fewer).is_err(), "without node {place}");
    }
}

/// The draw of a skipped view stands in the block, beside the seed of its parent.
#[test]
fn a_block_after_skipped_views_carries_both_seeds() {
    let proof: BlockProof = read(SKIPPED);
    let data = ConsensusData::decode(&mut proof.block.consensus.as_ref()).unwrap();
    assert_eq!((data.seed.len(), data.draw.len()), (48, 48));
    assert_ne!(data.draw, data.seed);
}
