//! Aliases that fix the agreement engine's type parameters. There is no behaviour here.

use core::num::NonZeroU32;

use commonware_consensus::{marshal, simplex, types::FixedEpocher};
use commonware_cryptography::{
    bls12381::{
        dkg::feldman_desmedt,
        primitives::{
            sharing::{self, Mode, ModeVersion},
            variant::{self, MinSig},
        },
    },
    ed25519,
};
use commonware_glue::dkg;
use hansa_types::SEATS_MAX;

use crate::{block::ChainBlock, digest::BlockDigest};

/// A node's public key.
pub(crate) type PublicKey = ed25519::PublicKey;
/// A node's secret key.
pub(crate) type PrivateKey = ed25519::PrivateKey;
/// Signatures in G1 (48 bytes), group key in G2.
pub(crate) type Variant = MinSig;
/// The group's public key.
pub(crate) type GroupPublic = <Variant as variant::Variant>::Public;
/// A signature of the group.
pub(crate) type Signature = <Variant as variant::Variant>::Signature;
/// A validator's part of one.
pub(crate) type PartialSignature = variant::PartialSignature<Variant>;
/// The public polynomial of a committee's shares.
pub(crate) type Sharing = sharing::Sharing<Variant>;
/// Votes and the random seed, both threshold signatures.
pub(crate) type Scheme = simplex::scheme::bls12381_threshold::vrf::Scheme<PublicKey, Variant>;
/// The endpoints of an epoch's participants.
pub(crate) type Directory = dkg::network::Addresses<PublicKey>;
/// A dealer's log or an epoch's outcome, as carried by a block.
pub(crate) type Payload = dkg::types::Payload<Variant, PublicKey, Directory>;
/// The description of an epoch.
pub(crate) type EpochInfo = dkg::types::EpochInfo<Variant, PublicKey, Directory>;
/// The public outcome of a key generation or a resharing.
pub(crate) type Output = feldman_desmedt::Output<Variant, PublicKey>;
/// The round, leader and parent under which a block is proposed.
pub(crate) type Context = simplex::types::Context<BlockDigest, PublicKey>;
/// The events of the agreement engine.
pub(crate) type Activity = simplex::types::Activity<Scheme, BlockDigest>;
/// A certificate of finality.
pub(crate) type Finalization = simplex::types::Finalization<Scheme, BlockDigest>;
/// The broadcast mode: whole blocks.
pub(crate) type Broadcast = marshal::standard::Standard<ChainBlock>;
/// Epochs of equal length; epoch 0 begins with the genesis block.
pub(crate) type Epochs = FixedEpocher;

/// Maximum number of validators of an epoch.
pub(crate) const PARTICIPANTS_MAX: NonZeroU32 = SEATS_MAX;
/// The numbering of shares.
pub(crate) const SHARING_MODE: Mode = Mode::NonZeroCounter;
/// The decoder's version for [`SHARING_MODE`].
pub(crate) const SHARING_VERSION: ModeVersion = ModeVersion::v0();
