//! Two nodes that exchange blocks in any order and on any branch end with the same chain.

use alloy_primitives::B256;
use proptest::prelude::*;

use hansa_ledger::{BlockRef, Ledger, LedgerError};
use hansa_types::{Block, SignedTransaction};

use crate::support::*;

#[derive(Clone, Debug)]
enum Step {
    /// A node proposes on one of the blocks it knows.
    Propose { node: usize, parent: prop::sample::Index, kinds: Vec<(u8, u8)> },
    /// The other node is shown one of the blocks.
    Deliver { node: usize, block: prop::sample::Index },
    /// A child of the common head becomes final everywhere.
    Finalise { child: prop::sample::Index },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let kinds = || prop::collection::vec((1_u8..=4, 0_u8..4), 0..5);
    let step = prop_oneof![
        3 => (0_usize..2, any::<prop::sample::Index>(), kinds())
            .prop_map(|(node, parent, kinds)| Step::Propose { node, parent, kinds }),
        2 => (0_usize..2, any::<prop::sample::Index>()).prop_map(|(node, block)| Step::Deliver { node, block }),
        2 => any::<prop::sample::Index>().prop_map(|child| Step::Finalise { child }),
    ];
    prop::collection::vec(step, 1..25)
}

/// A transaction that may succeed or revert, with the nonce that follows on the sender's pending ones.
fn transaction(ledger: &Ledger, (key, kind): (u8, u8)) -> SignedTransaction {
    let sender = account(key);
    let used = ledger.account(BlockRef::Head, sender).unwrap().nonce;
    let nonce = ledger.pool().next_nonce(sender).unwrap_or(used);
    match kind {
        0 => deploy(key, nonce, STORE_INIT),
        1 => call(key, nonce, sender.create(0), words(&[nonce % 3, nonce])),
        2 => call(key, nonce, sender.create(0), words(&[nonce % 3, 0])),
        _ => put(key, nonce, nonce + 1),
    }
}

fn finalise(nodes: &[Ledger; 2], block: &Block) {
    for node in nodes {
        node.finalise(block).unwrap();
        assert_eq!(&node.head(), block);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

    #[test]
    fn nodes_agree_whatever_the_order(steps in steps()) {
        let nodes = [ledger(), ledger()];
        let mut blocks = vec![nodes[0].genesis_block()];
        for step in steps {
            let head = nodes[0].head();
            match step {
                Step::Propose { node, parent, kinds } => {
                    let node = &nodes[node];
                    for kind in kinds {
                        node.pool().add(transaction(node, kind)).unwrap();
                    }
                    let parent = parent.get(&blocks);
                    match node.propose(proposal(parent)) {
                        Ok(block) => blocks.push(block),
                        Err(LedgerError::UnknownParent(hash)) => prop_assert!(node.known_block(hash).is_none()),
                        Err(error) => panic!("{error}"),
                    }
                }
                Step::Deliver { node, block } => {
                    let block = Block::decode(block.get(&blocks).encoded()).unwrap();
                    match nodes[node].verify(&block) {
                        Ok(()) | Err(LedgerError::UnknownParent(_)) => {}
                        Err(error) => prop_assert!(
                            error.is_invalid_block() && block.number() <= head.number(),
                            "an honest block above the head was refused: {}", error
                        ),
                    }
                }
                Step::Finalise { child } => {
                    let hash = head.hash();
                    let children: Vec<_> =
                        blocks.iter().filter(|block| block.header().parent_hash == hash).cloned().collect();
                    if !children.is_empty() {
                        finalise(&nodes, child.get(&children));
                    }
                }
            }
        }
        let [left, right] = &nodes;
        prop_assert_eq!(left.head(), right.head());
        for number in 0..=left.head().number() {
            prop_assert_eq!(left.receipts(number).unwrap(), right.receipts(number).unwrap());
            let root = left.proof(number.into(), account(1), &[B256::ZERO]).unwrap();
            prop_assert_eq!(root, right.proof(number.into(), account(1), &[B256::ZERO]).unwrap());
        }
    }
}
