//! Names the keys that the consortium releases, lays out deposited keys, and says how a release is judged.
//!
//! Encodings and one trait. Sealing, opening and signing need the group key and are in `hansa-consensus`; the rule of access is
//! read from the chain by the crate that implements [`ReleaseJudge`].

use alloy_primitives::{B256, Bytes};

use crate::{DcId, NetworkKey, ObjectId, Version};

/// Bytes of an encoded [`ReleaseId`].
pub const RELEASE_ID_BYTES: usize = 58;
/// Bytes of a deposit's capsule: a G2 point (96) and two blocks of 32 bytes.
pub const CAPSULE_BYTES: usize = 160;
/// Bytes that a deposit has more than what it seals: layout 1, capsule 160, tag 16.
pub const DEPOSIT_OVERHEAD_BYTES: usize = 177;
/// Most bytes that a deposit seals. The contracts accept 2,048 bytes for the whole deposit, which leaves 1,871.
pub const DEPOSITED_BYTES_MAX: usize = 2048;

const ID_LAYOUT: u8 = 1;
const DEPOSIT_LAYOUT: u8 = 1;
const TAG_BYTES: usize = 16;

/// The key that a deposit holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReleasedKey {
    /// The data key of one version.
    Version(Version),
    /// The audience key of one epoch.
    Epoch(u32),
}

/// The identity for which a deposit is sealed and which validators sign to release it.
///
/// A signature for one identity opens no deposit of another, so every field narrows the use of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReleaseId {
    /// Hash of the genesis block.
    pub chain: B256,
    /// The object.
    pub object: ObjectId,
    /// The deposited key.
    pub key: ReleasedKey,
    /// The member that may open; `None` for a deposit that every member may open (visibility 0).
    pub grantee: Option<DcId>,
    /// Nonce of the grant that came with the deposit; 0 without a grantee.
    pub grant_nonce: u32,
}

impl ReleaseId {
    /// `layout 1 (01) ‖ chain 32 ‖ owner 4 ‖ number 8 ‖ kind 1 (0 version, 1 epoch) ‖ version or epoch 4 ‖ grantee 4 (0 for every
    /// member) ‖ grant nonce 4`, integers big-endian.
    pub fn encode(&self) -> [u8; RELEASE_ID_BYTES] {
        let (kind, value) = match self.key {
            ReleasedKey::Version(version) => (0, version.0),
            ReleasedKey::Epoch(epoch) => (1, epoch),
        };
        let mut bytes = [0; RELEASE_ID_BYTES];
        let fields: [&[u8]; 8] = [
            &[ID_LAYOUT],
            self.chain.as_slice(),
            &self.object.owner.value().to_be_bytes(),
            &self.object.number.to_be_bytes(),
            &[kind],
            &value.to_be_bytes(),
            &self.grantee.map_or(0, DcId::value).to_be_bytes(),
            &self.grant_nonce.to_be_bytes(),
        ];
        for (to, from) in bytes.iter_mut().zip(fields.into_iter().flatten()) {
            *to = *from;
        }
        bytes
    }

    /// Reads what [`ReleaseId::encode`] wrote; `None` for anything else.
    pub fn decode(bytes: &[u8; RELEASE_ID_BYTES]) -> Option<Self> {
        let (&[layout], rest) = bytes.split_first_chunk()?;
        let (chain, rest) = rest.split_first_chunk::<32>()?;
        let (owner, rest) = rest.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (&[kind], rest) = rest.split_first_chunk()?;
        let (value, rest) = rest.split_first_chunk()?;
        let (grantee, rest) = rest.split_first_chunk()?;
        let (nonce, rest) = rest.split_first_chunk()?;
        let (owner, value) = (DcId::new(u32::from_be_bytes(*owner))?, u32::from_be_bytes(*value));
        let key = match kind {
            0 => ReleasedKey::Version(Version(value)),
            1 => ReleasedKey::Epoch(value),
            _ => return None,
        };
        let id = Self {
            chain: chain.into(),
            object: ObjectId { owner, number: u64::from_be_bytes(*number) },
            key,
            grantee: DcId::new(u32::from_be_bytes(*grantee)),
            grant_nonce: u32::from_be_bytes(*nonce),
        };
        (layout == ID_LAYOUT && rest.is_empty() && id.object.number > 0).then_some(id)
    }
}

/// A key sealed to the group key under a [`ReleaseId`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deposit {
    /// The encapsulated key: identity-based encryption to the group key.
    pub capsule: [u8; CAPSULE_BYTES],
    /// Ciphertext and tag under the encapsulated key; at most [`DEPOSITED_BYTES_MAX`] and the tag.
    pub sealed: Bytes,
}

impl Deposit {
    /// `layout 1 (01) ‖ capsule 160 ‖ ciphertext ‖ tag 16`.
    pub fn encode(&self) -> Vec<u8> {
        [&[DEPOSIT_LAYOUT], self.capsule.as_slice(), &self.sealed].concat()
    }

    /// Reads what [`Deposit::encode`] wrote. The capsule's point is not checked here.
    ///
    /// # Errors
    /// When the layout is unknown or the length cannot be that of a deposit.
    pub fn decode(bytes: &[u8]) -> Result<Self, DepositError> {
        let length = || DepositError::Length(bytes.len());
        let (layout, rest) = bytes.split_first().ok_or_else(length)?;
        if *layout != DEPOSIT_LAYOUT {
            return Err(DepositError::Layout(*layout));
        }
        let (capsule, sealed) = rest.split_first_chunk().ok_or_else(length)?;
        match sealed.len().checked_sub(TAG_BYTES) {
            Some(0..=DEPOSITED_BYTES_MAX) => {
                Ok(Self { capsule: *capsule, sealed: Bytes::copy_from_slice(sealed) })
            }
            _ => Err(length()),
        }
    }
}

/// Why bytes are no deposit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DepositError {
    /// The first byte names a layout that this program does not know.
    #[error("the deposit has layout {0}; this program reads layout 1, a newer one may read it")]
    Layout(u8),
    /// No deposit has this length.
    #[error("no deposit has {0} bytes; the record of the grant is damaged, ask the owner to share again")]
    Length(usize),
}

/// A validator's answer to a request for a key, from its own final state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseVerdict {
    /// The opening is final and covers the deposit.
    Release,
    /// The state does not show the opening, and a later one may.
    NotYet,
    /// No later state permits this release.
    Refused(ReleaseRefusal),
}

/// Why a validator refuses to release a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum ReleaseRefusal {
    /// The identity names another network.
    #[error("the deposit belongs to another network")]
    OtherChain,
    /// The asking node belongs to no active member.
    #[error("the asking node belongs to no active member")]
    Inactive,
    /// The opening is another member's, or the deposit is for another member.
    #[error("opening or deposit belong to another member")]
    OtherMember,
    /// The opening is of another object, version or key epoch.
    #[error("the opening is not of the deposited key")]
    OtherKey,
    /// The grant was taken back or replaced, or is younger than the opening.
    #[error("the grant that the deposit came with does not cover the opening; open the object again")]
    Withdrawn,
}

impl ReleaseRefusal {
    const ALL: [Self; 5] =
        [Self::OtherChain, Self::Inactive, Self::OtherMember, Self::OtherKey, Self::Withdrawn];

    /// The number on the wire, from 1.
    pub const fn code(self) -> u8 {
        match self {
            Self::OtherChain => 1,
            Self::Inactive => 2,
            Self::OtherMember => 3,
            Self::OtherKey => 4,
            Self::Withdrawn => 5,
        }
    }

    /// The refusal with this number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|refusal| refusal.code() == code)
    }
}

/// Judges requests for keys by the final state of this node's chain.
///
/// Called off the executor. An implementation reads one final state, changes nothing and answers
/// [`ReleaseVerdict::NotYet`] when the state cannot be read.
pub trait ReleaseJudge: Send + Sync + 'static {
    /// Whether the node with network key `asking`, which the connection has authenticated, may have the signature over `id` for
    /// the opening with this number.
    fn judge(&self, asking: NetworkKey, opening: u64, id: &ReleaseId) -> ReleaseVerdict;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> ReleaseId {
        ReleaseId {
            chain: B256::repeat_byte(0xaa),
            object: "1/42".parse().unwrap(),
            key: ReleasedKey::Epoch(3),
            grantee: DcId::new(5),
            grant_nonce: 7,
        }
    }

    #[test]
    fn identities_are_pinned_and_every_field_counts() {
        let pinned = format!("01{}00000001000000000000002a01000000030000000500000007", "aa".repeat(32));
        assert_eq!(hex::encode(id().encode()), pinned);
        let others = [
            ReleaseId { chain: B256::ZERO, ..id() },
            ReleaseId { object: "2/42".parse().unwrap(), ..id() },
            ReleaseId { object: "1/43".parse().unwrap(), ..id() },
            ReleaseId { key: ReleasedKey::Epoch(4), ..id() },
            ReleaseId { key: ReleasedKey::Version(Version(3)), ..id() },
            ReleaseId { grantee: None, ..id() },
            ReleaseId { grant_nonce: 8, ..id() },
        ];
        for other in others {
            assert_ne!(other.encode(), id().encode());
            assert_eq!(ReleaseId::decode(&other.encode()), Some(other));
        }
    }

    #[test]
    fn other_layouts_kinds_and_nobodys_objects_are_no_identities() {
        for (at, value) in [(0, 0), (0, 2), (36, 0), (44, 0), (45, 2)] {
            let mut bytes = id().encode();
            bytes[at] = value;
            assert_eq!(ReleaseId::decode(&bytes), None, "byte {at} is {value}");
        }
    }

    #[test]
    fn deposits_are_pinned_and_bounded() {
        let deposit = Deposit { capsule: [0xcc; CAPSULE_BYTES], sealed: vec![0xdd; 17].into() };
        let bytes = deposit.encode();
        assert_eq!(hex::encode(&bytes), format!("01{}{}", "cc".repeat(160), "dd".repeat(17)));
        assert_eq!(bytes.len(), 1 + DEPOSIT_OVERHEAD_BYTES);
        assert_eq!(Deposit::decode(&bytes), Ok(deposit));
        for length in [0, 1, 161, 176, DEPOSIT_OVERHEAD_BYTES + DEPOSITED_BYTES_MAX + 1] {
            assert_eq!(Deposit::decode(&vec![1; length]), Err(DepositError::Length(length)));
        }
        assert!(Deposit::decode(&vec![1; DEPOSIT_OVERHEAD_BYTES + DEPOSITED_BYTES_MAX]).is_ok());
        assert_eq!(Deposit::decode(&[2; 200]), Err(DepositError::Layout(2)));
    }

    #[test]
    fn refusals_survive_their_codes() {
        for refusal in ReleaseRefusal::ALL {
            assert_eq!(ReleaseRefusal::from_code(refusal.code()), Some(refusal));
        }
        assert_eq!(ReleaseRefusal::from_code(0), None);
    }
}
