//! Genesis files with a dealt group key, for tests in the deterministic runtime.

use alloy_consensus::Header;
use commonware_codec::Encode as _;
use commonware_cryptography::bls12381::{dkg::feldman_desmedt::deal, primitives::group::Share};
use commonware_utils::{N3f1, TestRng, ordered::Map};
use hansa_types::{Block, Genesis};

use super::organisation::{Organisation, draft};
use crate::{
    block::BlockRules,
    genesis,
    handle::private_key,
    types::{PrivateKey, PublicKey, SHARING_MODE, Variant},
};

/// The key with which an organisation's node signs in the agreement.
pub(super) fn signer(organisation: &Organisation) -> PrivateKey {
    private_key(&organisation.network_secret()).unwrap()
}

/// What a decoder of blocks has to know about a chain of four founders.
pub(crate) fn rules() -> BlockRules {
    let founders: Vec<_> = (1..=4).map(|i| Organisation::new(i, format!("127.0.0.1:{i}"))).collect();
    let (genesis, _) = dealt(&founders, 16);
    BlockRules { genesis: genesis::block(&genesis, Block::genesis(Header::default())).unwrap() }
}

/// A genesis file whose group key was dealt by the test itself, and the shares.
pub(super) fn dealt(founders: &[Organisation], epoch_blocks: u64) -> (Genesis, Map<PublicKey, Share>) {
    let draft = draft(founders, epoch_blocks);
    let players = genesis::founders(&draft).unwrap();
    let (output, shares) = deal::<Variant, _, N3f1>(TestRng::new(1), SHARING_MODE, players).unwrap();
    (Genesis { group: output.encode().into(), ..draft }, shares)
}
