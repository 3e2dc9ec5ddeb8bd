//! Proofs of blocks and of their writers, as an outsider checks them with the genesis file alone.
//!
//! With `HANSA_VECTORS` set, the same network writes the vectors of `hansa-proof` anew.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use alloy_consensus::{SignableTransaction as _, TxEip1559};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, B256, Bytes, TxKind};
use alloy_sol_types::SolCall as _;
use alloy_trie::{HashBuilder, Nibbles, proof::ProofRetainer};
use commonware_consensus::CertifiableBlock as _;
use commonware_runtime::Clock as _;
use hansa_contracts::{GOVERNANCE, REGISTRY, abi::Governance};
use hansa_ledger::Ledger;
use hansa_proof::{ProofError, ProvenBlock, Verifier};
use hansa_types::SignedTransaction;
use serde_json::{Value, json};

use super::{
    organisation::{CHAIN_ID, Organisation},
    world::{Shape, World, simulate},
};
use crate::{block::ChainBlock, committee::leader_name};

const EPOCH_BLOCKS: u64 = 16;
/// A member's standing, as the contracts number it.
const SUSPENDED: u8 = 2;

/// A transaction of an organisation's account.
pub(super) fn call(from: &Organisation, nonce: u64, to: Address, input: Vec<u8>) -> SignedTransaction {
    let transaction = TxEip1559 {
        chain_id: CHAIN_ID,
        nonce,
        gas_limit: 16_000_000,
        to: TxKind::Call(to),
        input: input.into(),
        ..Default::default()
    };
    let signature = from.sign(transaction.signature_hash());
    transaction.into_signed(signature).into()
}

/// A network of four validators, of which the last is silent, and a follower that comes late. It has executed a block of three
/// transactions.
async fn network(mut world: World) -> (World, u64) {
    for index in 0..3 {
        world.start(index).await;
    }
    world.reach(2 * EPOCH_BLOCKS + 4).await;
    let founders = &world.organisations;
    let ballot = Governance::openStandingCall { dcId: 4, status: SUSPENDED }.abi_encode();
    let own = |index: usize| call(&founders[index], 0, founders[index].card.account, Vec::new());
    let transactions = [call(&founders[0], 0, GOVERNANCE, ballot), own(1), own(2)];
    let ledger = world.nodes[&0].ledger.clone();
    let last = *transactions[2].tx_hash();
    for transaction in transactions {
        ledger.pool().add(transaction).unwrap();
    }
    let executed = loop {
        if let Some(receipt) = ledger.receipt(last).unwrap() {
            break receipt.block_number;
        }
        world.context.sleep(Duration::from_millis(20)).await;
    };
    world.start(4).await;
    world.reach(3 * EPOCH_BLOCKS + 4).await;
    world.agreed();
    (world, executed)
}

/// The proven writer of a block is the leader with whom the validators agreed on it.
fn prove(verifier: &Verifier, ledger: &Ledger, number: u64) -> ProvenBlock {
    let block = ledger.block(number).unwrap().unwrap();
    let proof = ledger.block_proof(number).unwrap().expect("no certificate is near");
    let proven = verifier.block(&proof).unwrap();
    let context = ChainBlock::new(block.clone()).unwrap().context();
    assert_eq!((proven.hash, &proven.header), (block.hash(), block.header()));
    assert_eq!(proven.writer.network_key, leader_name(&context.leader));
    assert_eq!(
        (proven.writer.epoch, proven.writer.view),
        (context.round.epoch().get(), context.round.view().get())
    );
    proven
}

#[test]
fn every_block_and_its_writer_are_provable_also_where_views_were_skipped() {
    let shape = Shape { founders: 4, followers: 1, epoch_blocks: EPOCH_BLOCKS, seed: 21 };
    simulate(shape, |world| async {
        let (world, executed) = network(world).await;
        let verifier = Verifier::new(&world.genesis).unwrap();
        let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
        for number in 1..=3 * EPOCH_BLOCKS {
            let writer = prove(&verifier, &world.nodes[&0].ledger, number).writer;
            let kind = match (writer.view, writer.views_skipped) {
                (1, _) if writer.epoch == 0 => "first",
                (1, _) => "epoch",
                (_, 0) => "follows",
                (_, _) if writer.epoch == 0 => "skipped",
                (_, _) => "skipped-later",
            };
            kinds.insert(kind, number);
            // A follower has heard no certificate that skipped a view, and proves the same.
            assert_eq!(prove(&verifier, &world.nodes[&4].ledger, number).writer, writer);
        }
        assert_eq!(kinds.len(), 5, "not every kind of draw occurred: {kinds:?}");
        refuse_others(&verifier, &world.nodes[&0].ledger, kinds["skipped-later"]);
        if std::env::var_os("HANSA_VECTORS").is_some() {
            write_vectors(&world, &kinds, executed);
        }
        ((), world)
    });
}

/// A block of another draw, epoch or committee.
fn refuse_others(verifier: &Verifier, ledger: &Ledger, number: u64) {
    let proof = ledger.block_proof(number).unwrap().unwrap();
    let check = |change: &dyn Fn(&mut hansa_proof::BlockProof)| {
        let mut changed = proof.clone();
        change(&mut changed);
        verifier.block(&changed).unwrap_err()
    };
    let earlier = ledger.block_proof(number - EPOCH_BLOCKS).unwrap().unwrap();
    assert!(matches!(check(&|p| p.committee = None), ProofError::Committee(_)));
    assert!(matches!(check(&|p| p.committee = earlier.committee.clone()), ProofError::Committee(_)));
    assert!(matches!(check(&|p| p.committee = Some(p.block.clone())), ProofError::Committee(_)));
    assert!(matches!(
        check(&|p| p.block.consensus = earlier.block.consensus.clone()),
        ProofError::Consensus(_)
    ));
    assert!(matches!(check(&|p| p.block.headers.clear()), ProofError::Malformed(_)));
    assert!(matches!(
        check(&|p| p.block.certificate = earlier.block.certificate.clone()),
        ProofError::Chain(_)
    ));
    assert!(matches!(check(&|p| p.block.certificate.view += 1), ProofError::Signature(_)));
    assert!(matches!(check(&|p| p.genesis = p.block.headers[0].clone()), ProofError::OtherNetwork));
}

fn write_vectors(world: &World, kinds: &BTreeMap<&str, u64>, executed: u64) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hansa-proof/vectors");
    let write = |name: &str, value: &Value| {
        let text = serde_json::to_string_pretty(value).unwrap() + "\n";
        fs::write(folder.join(name), text).unwrap();
    };
    fs::write(folder.join("genesis.json"), world.genesis.to_json()).unwrap();
    let ledger = &world.nodes[&0].ledger;
    for (kind, number) in kinds {
        let proof = ledger.block_proof(*number).unwrap().unwrap();
        write(&format!("{kind}.json"), &json!(proof));
    }
    write("state.json", &state_vector(ledger, executed));
}

/// Proofs against the roots of a block of several transactions.
fn state_vector(ledger: &Ledger, number: u64) -> Value {
    let slots: Vec<B256> = (0..6).map(B256::with_last_byte).collect();
    let accounts = [(REGISTRY, true), (GOVERNANCE, true), (Address::repeat_byte(0xee), false)];
    let accounts = accounts.map(|(address, exists)| {
        let proof = ledger.proof(number.into(), address, &slots).unwrap();
        let account = exists.then(|| {
            json!({
                "nonce": proof.account.nonce,
                "balance": proof.account.balance,
                "storageRoot": proof.storage_root,
                "codeHash": proof.account.code_hash,
            })
        });
        let slots = proof.storage_proofs.iter().filter(|_| exists);
        let slots = slots.map(|slot| json!({ "slot": slot.slot, "value": slot.value, "nodes": slot.proof }));
        let slots: Vec<_> = slots.collect();
        json!({ "address": address, "account": account, "nodes": proof.account_proof, "slots": slots })
    });
    let block = ledger.block(number).unwrap().unwrap();
    let receipts = ledger.receipts(number).unwrap().unwrap();
    assert!(receipts.len() > 1, "the transactions are not in one block");
    json!({
        "proof": ledger.block_proof(number).unwrap().unwrap(),
        "accounts": accounts,
        "transactions": list(block.transactions().iter().map(|tx| tx.encoded_2718()).collect()),
        "receipts": list(receipts.iter().map(|receipt| receipt.receipt.encoded_2718()).collect()),
    })
}

/// The items of a list with their proofs, in the trie that is keyed by the RLP of their places.
fn list(items: Vec<Vec<u8>>) -> Vec<Value> {
    let key = |index: usize| Nibbles::unpack(alloy_rlp::encode(index));
    let mut sorted: Vec<usize> = (0..items.len()).collect();
    sorted.sort_by_key(|index| key(*index));
    let prove = |wanted: usize| {
        let retainer = ProofRetainer::from_iter([key(wanted)]);
        let mut trie = HashBuilder::default().with_proof_retainer(retainer);
        sorted.iter().for_each(|index| trie.add_leaf(key(*index), &items[*index]));
        trie.root();
        trie.take_proof_nodes().into_nodes_sorted().into_iter().map(|(_, node)| node).collect::<Vec<Bytes>>()
    };
    let all = items.iter().enumerate();
    all.map(|(index, item)| json!({ "index": index, "envelope": Bytes::from(item.clone()), "nodes": prove(index) }))
        .collect()
}
