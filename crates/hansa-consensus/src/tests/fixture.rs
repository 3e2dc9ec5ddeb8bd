//! Genesis files with a dealt group key, for tests in the deterministic runtime.

use alloy_consensus::Header;
use commonware_codec::Encode as _;
use commonware_consensus::{
    simplex::types::{Finalize, Proposal},
    types::{Epoch, Round, View},
};
use commonware_cryptography::{
    Signer as _,
    bls12381::{dkg::feldman_desmedt::deal, primitives::group::Share},
};
use commonware_parallel::Sequential;
use commonware_utils::{N3f1, TestRng, non_empty, ordered::Map};
use hansa_kv::MemoryStore;
use hansa_ledger::Ledger;
use hansa_types::{Block, Genesis};

use super::organisation::{Organisation, draft, ledger};
use crate::{
    block::BlockRules,
    digest::BlockDigest,
    genesis,
    handle::private_key,
    types::{Finalization, PrivateKey, PublicKey, SHARING_MODE, Scheme, Variant},
};

/// The key with which an organisation's node signs in the agreement.
pub(super) fn signer(organisation: &Organisation) -> PrivateKey {
    private_key(&organisation.network_secret()).unwrap()
}

/// What a decoder of blocks has to know about a chain of four founders.
pub(crate) fn rules() -> BlockRules {
    let (genesis, _) = four_founders();
    BlockRules { genesis: genesis::block(&genesis, Block::genesis(Header::default())).unwrap() }
}

/// A ledger of a chain with a single founder.
pub(crate) fn lone_ledger(store: MemoryStore) -> Ledger {
    let (genesis, _) = dealt(&[Organisation::new(1, "127.0.0.1:1".into())], 16);
    ledger(store, &genesis)
}

/// The certificate that a single founder signs for a block of this view.
pub(crate) fn certificate(view: u64, block: BlockDigest) -> Finalization {
    let (genesis, shares) = dealt(&[Organisation::new(1, "127.0.0.1:1".into())], 16);
    let info = genesis::first_epoch(&genesis).unwrap();
    let (polynomial, share) = (info.output.public().clone(), shares.values()[0].clone());
    let scheme = Scheme::signer(b"test", info.players, polynomial, share).unwrap();
    let proposal = Proposal::new(Round::new(Epoch::zero(), View::new(view)), View::zero(), block);
    let vote = Finalize::sign(&scheme, proposal).unwrap();
    Finalization::from_finalizes(&scheme, non_empty![&vote], &Sequential).unwrap()
}

/// A genesis file of four founders, and their shares.
pub(crate) fn four_founders() -> (Genesis, Map<PublicKey, Share>) {
    let founders: Vec<_> = (1..=4).map(|i| Organisation::new(i, format!("127.0.0.1:{i}"))).collect();
    dealt(&founders, 16)
}

/// Shares of another key of the same four founders.
pub(crate) fn other_shares() -> Vec<Share> {
    let players = genesis::founders(&four_founders().0).unwrap();
    let (_, shares) = deal::<Variant, _, N3f1>(TestRng::new(2), SHARING_MODE, players).unwrap();
    shares.values().to_vec()
}

/// The identity of a node without a seat.
pub(crate) fn outsider() -> PublicKey {
    signer(&Organisation::new(9, "127.0.0.1:9".into())).public_key()
}

/// The verifier of [`certificate`].
pub(crate) fn verifier() -> Scheme {
    let (genesis, _) = dealt(&[Organisation::new(1, "127.0.0.1:1".into())], 16);
    let info = genesis::first_epoch(&genesis).unwrap();
    Scheme::certificate_verifier(b"test", *info.output.public().public())
}

/// A genesis file whose group key was dealt by the test itself, and the shares.
pub(super) fn dealt(founders: &[Organisation], epoch_blocks: u64) -> (Genesis, Map<PublicKey, Share>) {
    let draft = draft(founders, epoch_blocks);
    let players = genesis::founders(&draft).unwrap();
    let (output, shares) = deal::<Variant, _, N3f1>(TestRng::new(1), SHARING_MODE, players).unwrap();
    (Genesis { group: output.encode().into(), ..draft }, shares)
}
